"""Draw pictures with the real ComfyUI, without and with a T2I-Adapter: `python3 run.py demo`."""

import argparse
import contextlib
import io
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..miniature import measure, scenes
from ..tasks import base_directory, client, paths
from ..tasks.server import ONE_THREAD, ComfyServer, ServerError, device_arguments
from . import cases, report, served, sheet, workflows
from .progress import Progress

MINIATURE = "miniature.safetensors"
SKETCH_ADAPTER = "t2iadapter_sketch_miniature.safetensors"
REAL_SIZE = 512
SCENES = 6
SEED = 1


@dataclass(frozen=True)
class Drawn:
    """One case and its pictures."""

    case: cases.Case
    without: Image.Image
    with_adapter: Image.Image


def main(arguments: list[str]) -> int:
    """Run the demo; return 0 if it has drawn every picture."""
    options = parse(arguments)
    # SIGTERM must stop the server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return show(options)
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    except (ServerError, client.WorkflowError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python3 run.py demo --",
        description="Draws pictures with the real ComfyUI, without and with a T2I-Adapter. Without options it uses a "
        "tiny model in this repository. With your own checkpoint and adapter, the same two workflow "
        "files run with these names inserted.",
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="leave ComfyUI running afterwards, until Ctrl-C, and print an address to draw at",
    )
    parser.add_argument("--checkpoint", default=MINIATURE, help="an SD1.5 checkpoint: a file, or a name ComfyUI lists")
    parser.add_argument("--adapter", default=SKETCH_ADAPTER, help="a sketch adapter: a file, or a name ComfyUI lists")
    parser.add_argument("--sketch", type=Path, help="your own sketch, white lines on black; needs --prompt")
    parser.add_argument("--prompt", help="the text for --sketch")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the noise (default %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=paths.ROOT / "dev" / "demo" / "output", help="folder for the pictures"
    )
    parser.add_argument("--base", type=Path, default=paths.BASE, help="ComfyUI's base directory")
    options = parser.parse_args(arguments)
    if (options.sketch is None) != (options.prompt is None):
        parser.error("got one of --sketch and --prompt; expected both or neither")
    if options.sketch is not None and not options.sketch.is_file():
        parser.error(f"--sketch: got {options.sketch}; expected a picture file")
    return options


def show(options: argparse.Namespace) -> int:
    """Start ComfyUI, draw, save and report; keep serving if --serve is given."""
    begun = time.monotonic()
    comfyui = Path(os.environ["COMFYUI_PATH"])
    base = base_directory.prepare(options.base, comfyui)
    if options.serve:
        served.prepare(base, comfyui)
    wanted, truth = choose_cases(options)
    values = {
        ("Checkpoint", "ckpt_name"): offer(options.checkpoint, base),
        ("Adapter", "adapter_name"): offer(options.adapter, base),
        ("Sampler", "seed"): options.seed,
    }
    progress = Progress(2 * len(wanted))
    threads = ONE_THREAD if options.checkpoint == MINIATURE else {}
    server = ComfyServer(comfyui, base, device_arguments(), threads)
    try:
        server.start(progress.waiting)
        progress.ready(server.url)
        drawn = [draw(server, number, case, values, progress) for number, case in enumerate(wanted, 1)]
        saved = save(drawn, options.output)
        print(report.text([one.without for one in drawn], [one.with_adapter for one in drawn], truth))
        print(
            f"\nPictures: {options.output}\nSide by side: {saved}\n{time.monotonic() - begun:.0f} s in all", flush=True
        )
        if options.serve:
            serve(server)
    except client.WorkflowError as error:
        server.require_alive()
        raise client.WorkflowError(f"{error}\nThe end of {server.log}:\n{server.tail()}") from error
    finally:
        server.stop()
    return 0


def choose_cases(options: argparse.Namespace) -> tuple[list[cases.Case], scenes.Scenes | None]:
    """Return the cases to draw, and the scenes to measure against, if there are any."""
    if options.sketch is not None:
        return cases.from_file(options.sketch, options.prompt), None
    # The first held-out scenes, not selected for good looks.
    drawn = measure.held_out(SCENES)
    if options.checkpoint == MINIATURE:
        return cases.from_scenes(drawn, scenes.SIZE), drawn
    return cases.from_scenes(drawn, REAL_SIZE), None


def offer(name: str, base: Path) -> str:
    """Return the name under which ComfyUI lists a model; a file is linked into its folders first."""
    file = Path(name).expanduser()
    return base_directory.offer(file, base) if file.is_file() else name


def draw(
    server: ComfyServer, number: int, case: cases.Case, values: dict[tuple[str, str], Any], progress: Progress
) -> Drawn:
    """Draw one case without and with the adapter."""
    sketch = f"sketch-{number}.png"
    values = {**values, ("Prompt", "text"): case.prompt, ("Sketch", "image"): sketch}
    pictures = []
    for name, path in (("without", workflows.WITHOUT), ("with   ", workflows.WITH)):
        progress.start(f"{name}  {case.prompt}")
        workflow = workflows.put(workflows.load(path), values)
        result = client.run(server.url, workflow, {sketch: case.png()}, progress.step)
        ((data,),) = result.images.values()
        pictures.append(Image.open(io.BytesIO(data)).convert("RGB"))
        progress.finish()
    return Drawn(case, *pictures)


def save(drawn: list[Drawn], folder: Path) -> Path:
    """Write the pictures and the sheet; return the sheet's path."""
    shutil.rmtree(folder / "pictures", ignore_errors=True)
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    for number, one in enumerate(drawn, 1):
        one.case.sketch.save(pictures / f"{number}-sketch.png")
        one.without.save(pictures / f"{number}-without.png")
        one.with_adapter.save(pictures / f"{number}-with.png")
    side_by_side = folder / "side-by-side.png"
    rows = [(one.case.prompt, (one.case.sketch, one.without, one.with_adapter)) for one in drawn]
    sheet.make(rows).save(side_by_side)
    return side_by_side


def serve(server: ComfyServer) -> None:
    """Keep the server up until Ctrl-C."""
    print(f"\nOpen {served.address(server.url)} and draw. Ctrl-C ends ComfyUI.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            server.require_alive()
            time.sleep(0.5)
    print("\nComfyUI ends.", flush=True)
