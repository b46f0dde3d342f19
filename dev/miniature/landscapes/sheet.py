"""Make a contact sheet of held-out landscapes: per scene a row of truth, no adapter, then conditions and pictures."""

from __future__ import annotations

import argparse

import torch
from torch import Tensor
from torch.nn import functional

from .captions import captions
from .light import HOURS, SEASONS, STYLES, Style
from .measure import held_out
from .paint import paint
from .scene import HELD_OUT, draw_scenes
from .studio import WEIGHTS, LandscapeStudio, exact_hint

KINDS = ("sketch", "seg", "depth", "color")


def tiled(pictures: Tensor, columns: int) -> Tensor:
    """Lay pictures (N, 3, H, W) out in rows with a white frame; (3, rows, columns)."""
    framed = functional.pad(pictures, (2, 2, 2, 2), value=1.0)
    grid = framed.unflatten(0, (-1, columns))
    return grid.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)


def save(picture: Tensor, file: object) -> None:
    """Write a picture (3, H, W) in [0, 1]."""
    from PIL import Image

    Image.fromarray((picture.clamp(0, 1) * 255).round().byte().movedim(0, 2).numpy()).save(file, quality=90)


def scenes_by_light(start: int, size: int, style: Style) -> Tensor:
    """Paint 16 held-out scenes, each season by each hour; (16, 3, size, size)."""
    season, hour = torch.cartesian_prod(torch.arange(len(SEASONS)), torch.arange(len(HOURS))).unbind(1)
    seeds = HELD_OUT + start + torch.arange(len(season))
    return paint(draw_scenes(seeds, season, hour), size, style).picture


def run(options: argparse.Namespace) -> None:
    """Write the sheet."""
    weights = options.weights or WEIGHTS
    file = options.out or weights.parent / ("scenes.jpg" if options.truth else "sheet.jpg")
    if options.truth:
        save(tiled(scenes_by_light(options.start, options.size, STYLES[options.style]), len(HOURS)), file)
        return
    studio = LandscapeStudio(options.comfyui, weights)
    asked = held_out(options.scenes, options.start)
    texts = captions(asked.facts)
    columns = [asked.painted.picture, studio.draw(texts)]
    for kind in KINDS:
        hint = exact_hint(kind, asked.painted)
        columns += [hint.movedim(3, 1), studio.draw(texts, {kind: hint})]
    save(tiled(torch.stack(columns, dim=1).flatten(0, 1), len(columns)), file)
