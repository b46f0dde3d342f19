"""Make a contact sheet of held-out scenes: `python dev/miniature sheet --comfyui ... --out sheet.jpg`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .measure import held_out, truth


def main(argv: list[str]) -> None:
    """Write one picture: per scene a row with the scene, no adapter, and each condition with its result."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(prog="miniature sheet", description="Contact sheet of held-out scenes.")
    parser.add_argument("--comfyui", help="ComfyUI's folder; default: the variable COMFYUI_PATH")
    parser.add_argument("--world", choices=("shapes", "landscapes"), default="shapes", help="what the pictures show")
    parser.add_argument("--weights", type=Path, help="folder of the files; default: the world's own")
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument(
        "--truth", action="store_true", help="landscapes: the scenes alone, seasons by hours; no weights"
    )
    parser.add_argument("--style", choices=("flat", "paper"), default="flat", help="landscapes, with --truth")
    parser.add_argument("--size", type=int, default=128, help="landscapes, with --truth: side of each picture")
    parser.add_argument("--start", type=int, default=1000, help="first held-out scene")
    parser.add_argument("--out", type=Path, help="default: sheet.jpg beside the world's weights")
    options = parser.parse_args(argv)
    if options.world == "landscapes":
        from .landscapes import sheet

        sheet.run(options)
        return
    from PIL import Image

    from .generate import Studio, exact_hint

    studio = Studio(options.comfyui, options.weights or here / "weights")
    scenes = held_out(options.scenes, options.start)
    columns = [truth(scenes), studio.generate(scenes)]
    for kind in ("sketch", "color", "seg"):
        columns += [exact_hint(kind, scenes), studio.generate(scenes, kind, colour_words=kind != "color")]
    framed = [torch.nn.functional.pad(column, (0, 0, 2, 2, 2, 2), value=0.5) for column in columns]
    rows = torch.cat(framed, dim=2).flatten(0, 1)
    Image.fromarray((rows.clamp(0, 1) * 255).round().byte().numpy()).save(options.out or here / "sheet.jpg", quality=90)
