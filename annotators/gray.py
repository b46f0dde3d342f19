"""Convert pictures to gray, for recolouring."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .errors import AnnotatorError
from .images import check_images, strip_rows

# BT.601 as Pillow has it: whole parts of 65536.
RED, GREEN, BLUE = 19595 / 65536, 38470 / 65536, 7471 / 65536


def gray(images: Tensor, gamma: float = 1.0) -> Tensor:
    """Reduce pictures to their luma.

    Args:
        images: (B, C, H, W) in [0, 1]; rounded to bytes.
        gamma: Exponent of the result, above 0: below 1 brightens, above 1 darkens. 1 is as trained.

    Returns:
        (B, 3, H, W) of the input's type, three equal channels. With a gamma of 1 they are the bytes of Pillow's
        ``convert("L")``: (19595 R + 38470 G + 7471 B) / 65536, rounded, halves up.

    Raises:
        AnnotatorError: The input is not pictures, or gamma isn't above 0.
    """
    color = check_images("Gray, image", images)
    if not (math.isfinite(gamma) and gamma > 0):
        raise AnnotatorError(
            "Gray, gamma", str(gamma), "a number above 0", "1 is as trained.", says="Gamma must be above 0."
        )
    values = _luma(color)
    return (values if gamma == 1 else values**gamma).to(images.dtype).expand(-1, 3, -1, -1)


def _luma(color: Tensor) -> Tensor:
    """Return Pillow's luma of (B, 3, H, W) as (B, 1, H, W)."""
    luma = color.new_empty((len(color), 1, *color.shape[-2:]))
    half = color.new_tensor(0.5)
    rows = strip_rows(color)
    # One strip's bytes at a time, in the same place, that stays in the cache.
    place = torch.empty_like(color[0, :, :rows])
    for picture, result in zip(color, luma, strict=True):
        for strip, out in zip(picture.split(rows, -2), result.split(rows, -2), strict=True):
            rounded = torch.mul(strip, 255, out=place[:, : strip.shape[-2]]).round_()
            red, green, blue = rounded.split(1)
            # Float32 holds the sum exactly: 8 binary places before the point, and 16 after it.
            torch.add(half, red, alpha=RED, out=out).add_(green, alpha=GREEN).add_(blue, alpha=BLUE)
            out.floor_().div_(255)
    return luma
