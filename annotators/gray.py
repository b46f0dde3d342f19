"""The picture in gray, for recolouring."""

from __future__ import annotations

import math

from torch import Tensor

from .errors import AnnotatorError
from .images import by_rows, check_images

# BT.601 in parts of 65536, as Pillow rounds it.
RED, GREEN, BLUE, HALF = 19595, 38470, 7471, 32768


def gray(images: Tensor, gamma: float = 1.0) -> Tensor:
    """Reduce pictures to their luma.

    Args:
        images: (B, C, H, W) in [0, 1]; rounded to bytes.
        gamma: Exponent of the result, above 0: below 1 brightens, above 1 darkens. 1 is as trained.

    Returns:
        (B, 3, H, W) of the input's type, three equal channels. With a gamma of 1 they are the bytes of Pillow's
        ``convert("L")``: (19595 R + 38470 G + 7471 B + 32768) / 65536, rounded down.

    Raises:
        AnnotatorError: The input is no picture, or gamma isn't above 0.
    """
    color = check_images("Gray, image", images)
    if not (math.isfinite(gamma) and gamma > 0):
        raise AnnotatorError("Gray, gamma", str(gamma), "a number above 0")
    values = by_rows(color, _luma)
    return (values if gamma == 1 else values**gamma).to(images.dtype).expand(-1, 3, -1, -1)


def _luma(color: Tensor) -> Tensor:
    """Return Pillow's luma of (3, h, W) as (1, h, W); its whole numbers are exact in float32, being below 2 ** 24."""
    red, green, blue = (color * 255).round_().split(1)
    total: Tensor = (red * RED).add_(green, alpha=GREEN).add_(blue, alpha=BLUE).add_(HALF)
    return total.div_(65536).floor_().div_(255)
