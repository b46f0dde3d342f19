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
    parser.add_argument("--weights", type=Path, default=here / "weights")
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--start", type=int, default=1000, help="first held-out scene")
    parser.add_argument("--out", type=Path, default=here / "sheet.jpg")
    options = parser.parse_args(argv)
    from PIL import Image

    from .generate import Studio, exact_hint

    studio = Studio(options.comfyui, options.weights)
    scenes = held_out(options.scenes, options.start)
    columns = [truth(scenes), studio.generate(scenes)]
    for kind in ("sketch", "color", "seg"):
        columns += [exact_hint(kind, scenes), studio.generate(scenes, kind, colour_words=kind != "color")]
    framed = [torch.nn.functional.pad(column, (0, 0, 2, 2, 2, 2), value=0.5) for column in columns]
    rows = torch.cat(framed, dim=2).flatten(0, 1)
    Image.fromarray((rows.clamp(0, 1) * 255).round().byte().numpy()).save(options.out, quality=90)
