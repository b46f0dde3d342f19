"""Turn a picture of any size and number of channels into an adapter's input."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..common.images import ImageCheck, luma
from .errors import HintError

Fit = Literal["crop", "stretch", "pad"]
FITS: tuple[Fit, ...] = ("crop", "stretch", "pad")
# Largest area of a scaled picture before cropping, as a multiple of the result's. A much longer picture is cropped
# first, by whole pixels, to avoid gigabytes of scaled pixels that would be cut off.
CUT_FIRST = 16
HINT_CHECK = ImageCheck(HintError)


def check_hint(where: str, image: Tensor) -> None:
    """Refuse a tensor that is not a picture in [0, 1].

    Args:
        where: The input, for messages.
        image: Expected (B, C, H, W) with C of 1 to 4 and values in [0, 1].

    Raises:
        HintError: A wrong shape, an empty batch, a type that is not floating point, NaN, or values out of range.
    """
    HINT_CHECK.form(where, image)
    HINT_CHECK.values(where, image)


def prepare_hint(image: Tensor, size: tuple[int, int], fit: Fit, channels: int, *, bgr: bool = False) -> Tensor:
    """Give a condition image the size and channels an adapter takes.

    Args:
        image: (B, C, H, W) in [0, 1], C of 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA). Alpha is dropped.
        size: Height and width of the result in pixels, equal to those of the generated picture.
        fit: ``crop`` fills the size and cuts the rest, ``stretch`` changes the aspect ratio, ``pad`` shows the whole
            picture and repeats its edge around it.
        channels: 1 (luma of colours) or 3 (gray repeated).
        bgr: Swap red and blue, for adapters trained on BGR.

    Returns:
        (B, channels, *size) in [0, 1]; the input's values if nothing had to change.
    """
    color = image[:, : 3 if image.shape[1] >= 3 else 1]
    color = fit_to(color, size, fit).clamp(0, 1)
    if channels == 1 and color.shape[1] != 1:
        color = luma(color)
    elif channels != 1 and color.shape[1] == 1:
        color = color.expand(-1, channels, -1, -1)
    return color.flip(1) if bgr and channels != 1 else color


def fit_to(image: Tensor, size: tuple[int, int], fit: Fit) -> Tensor:
    """Resize in one of the three ways of :data:`FITS`, averaging areas when shrinking.

    Args:
        image: (B, C, H, W).
        size: Height and width of the result.
        fit: See :func:`prepare_hint`.

    Returns:
        (B, C, *size).
    """
    height, width = image.shape[-2:]
    if (height, width) == tuple(size):
        return image
    if fit == "stretch":
        return _resize(image, size)
    scales = (size[0] / height, size[1] / width)
    scale = max(scales) if fit == "crop" else min(scales)
    if fit == "crop" and height * width * scale**2 > CUT_FIRST * size[0] * size[1]:
        image = _middle(image, size, scale)
        height, width = image.shape[-2:]
    scaled = _resize(image, (max(1, round(height * scale)), max(1, round(width * scale))))
    if fit == "crop":
        top, left = (scaled.shape[-2] - size[0]) // 2, (scaled.shape[-1] - size[1]) // 2
        return scaled[..., top : top + size[0], left : left + size[1]]
    vertical, horizontal = size[0] - scaled.shape[-2], size[1] - scaled.shape[-1]
    borders = (horizontal // 2, horizontal - horizontal // 2, vertical // 2, vertical - vertical // 2)
    return functional.pad(scaled, borders, mode="replicate")


def _middle(image: Tensor, size: tuple[int, int], scale: float) -> Tensor:
    """Pre-crop to the part that survives, plus the resampling margin."""
    around = math.ceil(1 / scale) + 1
    kept = [min(old, math.ceil(new / scale) + 2 * around) for old, new in zip(image.shape[-2:], size, strict=True)]
    top, left = ((old - new) // 2 for old, new in zip(image.shape[-2:], kept, strict=True))
    return image[..., top : top + kept[0], left : left + kept[1]]


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    # Antialiased bilinear keeps lines when shrinking and never overshoots. On the CPU, torch has it in full precision
    # only.
    whole = image.to(torch.promote_types(image.dtype, torch.float32))
    return functional.interpolate(whole, size=size, mode="bilinear", antialias=True).to(image.dtype)


def pad_to_cells(image: Tensor, cell: int) -> Tensor:
    """Extend the right and bottom edges to whole cells, so that no pixel moves.

    Args:
        image: (B, C, H, W).
        cell: Size of a cell in pixels.

    Returns:
        (B, C, H', W'), H' and W' the next multiples of ``cell``.
    """
    height, width = image.shape[-2:]
    borders = (0, -width % cell, 0, -height % cell)
    return functional.pad(image, borders, mode="replicate") if any(borders) else image


def mask_levels(mask: Tensor, size: tuple[int, int], fit: Fit, strides: tuple[int, ...]) -> list[Tensor]:
    """Average a mask over the cells of each level.

    Args:
        mask: (M, H, W) in [0, 1], any size.
        size: Height and width of the picture in pixels.
        fit: As for the condition image, so that the two stay aligned.
        strides: Size of a cell of each level in pixels.

    Returns:
        One (M, 1, ceil(H / stride), ceil(W / stride)) per level; a mask of ones stays exactly one.
    """
    whole = mask.unsqueeze(1).to(torch.float32)
    # The resampler's weights sum to one only approximately; dividing by the resampled ones keeps ones exact.
    fitted = (fit_to(whole, size, fit) / fit_to(torch.ones_like(whole[:1]), size, fit)).clamp(0, 1)
    return [functional.avg_pool2d(pad_to_cells(fitted, stride), stride) for stride in strides]
