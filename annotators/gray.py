"""The picture in gray, for recolouring."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .errors import AnnotatorError
from .images import check_images

# BT.601 in parts of 65536, as Pillow rounds it.
RED, GREEN, BLUE, HALF = 19595, 38470, 7471, 0x8000


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
    red, green, blue = (color * 255).round().to(torch.int32).unbind(1)
    luma = (red * RED + green * GREEN + blue * BLUE + HALF) >> 16
    values = (luma.to(torch.float32) / 255) ** gamma
    return values.to(images.dtype).unsqueeze(1).expand(-1, 3, -1, -1)
