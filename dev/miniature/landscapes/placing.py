"""Lay small things on patches that are no larger than they need to be."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import torch
from torch import Tensor

from .canvas import Canvas, Sprites
from .light import Style

SIDES = (32, 48, 64, 88, 116, 148, 190)  # patches, in pixels of a 128 px picture
REACHES = 2.5  # times its reach, how far a shadow is drawn


def shadow_of(style: Style, size: int) -> tuple[float, float]:
    """Return strength and reach in pixels of the shadow that a thing casts."""
    return style.shadow * 0.8, style.reach * size * 0.7


def sized(scale: Tensor, area: tuple[float, ...], size: int, style: Style) -> Iterable[tuple[Tensor, tuple[int, int]]]:
    """Sort things by the patch that holds them: pairs of indices, and height and width in pixels."""
    margin = 2.0 + 2.0 * REACHES * shadow_of(style, size)[1]
    wide, tall = area[2] - area[0], area[3] - area[1]
    need = scale * max(wide, tall) + margin
    sides = [side * size // 128 for side in SIDES]
    fits = torch.bucketize(need, need.new_tensor(sides)).clamp(max=len(sides) - 1)
    for number in fits.unique().tolist():
        largest = (sides[number] - margin) / max(wide, tall)
        yield torch.nonzero(fits == number)[:, 0], (ceil(largest * tall + margin), ceil(largest * wide + margin))


def single(
    board: Canvas, there: Tensor, spot: Tensor, scale: Tensor, area: tuple[float, ...], style: Style
) -> Iterable[tuple[Sprites, Tensor]]:
    """Lay patches for the one thing of a kind that some pictures have; pairs of sprites and their pictures."""
    row = torch.nonzero(there)[:, 0]
    for take, sides in sized(scale[row] * board.size, area, board.size, style):
        where = row[take]
        at = spot[where] * board.size, scale[where] * board.size
        yield Sprites.lay(where, at, area, sides, style.shadow > 0), where
