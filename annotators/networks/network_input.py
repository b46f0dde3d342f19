"""From pictures of any size to what a published network takes: size, border, normal values."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import AnnotatorError
from .published_models import Model

# DPT needs 2 kB per pixel in float32, measured, so 8 GB here; the others look at less than the picture's size.
MOST_PIXELS = 2048 * 2048


def input_size(model: Model, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size at which a network sees pictures.

    Where the network was trained near one size, pictures are scaled to it by their side that needs it least, so that
    their aspect stays; both sides are then rounded to the network's grid.

    Args:
        model: The network.
        size: Height and width of the pictures, border included.

    Returns:
        Height and width, multiples of ``model.multiple``.

    Raises:
        AnnotatorError: More than memory should hold.
    """
    scale = 1.0
    if model.fit is not None:
        scale = min((goal / side for goal, side in zip(model.fit, size, strict=True)), key=lambda each: abs(1 - each))
    height, width = (max(1, round(side * scale / model.multiple)) * model.multiple for side in size)
    if height * width > MOST_PIXELS:
        most = f"at most {MOST_PIXELS // 10**6} megapixels"
        raise AnnotatorError(model.key, f"{width}×{height} pixels to look at", most, "Detect at a lower resolution.")
    return height, width


def border_of(model: Model, size: tuple[int, int]) -> tuple[int, int]:
    """Return by how many pixels a picture is continued above and below, and left and right."""
    height, width = (min(int(model.border * math.sqrt(side / 2)), side - 1) for side in size)
    return height, width


def normal_values(model: Model, images: Tensor) -> Tensor:
    """Return pictures in [0, 1] as the network's normal values; (B, 3, H, W) -> the same shape."""
    mean, deviation = (
        torch.tensor(each, dtype=images.dtype, device=images.device).view(1, 3, 1, 1) for each in model.normal
    )
    return (images - mean) / deviation


def prepare(model: Model, images: Tensor) -> Tensor:
    """Make the input of a network.

    Args:
        model: The network.
        images: (B, 3, H, W), float32 in [0, 1].

    Returns:
        (B, 3, h, w), normal values.
    """
    top, left = border_of(model, (images.shape[-2], images.shape[-1]))
    if top or left:
        images = functional.pad(images, (left, left, top, top), mode="reflect")
    size = input_size(model, (images.shape[-2], images.shape[-1]))
    if size != images.shape[-2:]:
        if model.border:
            # As ZoeDepth was made: corners on corners, nothing averaged.
            images = functional.interpolate(images, size=size, mode="bilinear", align_corners=True)
        else:
            images = functional.interpolate(images, size=size, mode="bicubic", antialias=True).clamp(0, 1)
    return normal_values(model, images)
