"""Convert pictures of any size to the input of a published network: size, border, normalized values."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import AnnotatorError
from .transformers_configs import TransformersModel

# DPT needs 2 kB per pixel in float32, measured: 8 GB at this size. The other networks see less than the picture's size.
MOST_INPUT_PIXELS = 2048 * 2048


def input_size(model: TransformersModel, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size at which a network sees pictures.

    A network that was trained near one size gets pictures scaled to it, by the side that needs the smaller change, so
    that their aspect stays. Both sides are then rounded to the network's grid.

    Args:
        model: The network.
        size: Height and width of the pictures, border included.

    Returns:
        Height and width, multiples of ``model.multiple``.

    Raises:
        AnnotatorError: The input would need too much memory.
    """
    scale = 1.0
    if model.fit is not None:
        scale = min((goal / side for goal, side in zip(model.fit, size, strict=True)), key=lambda each: abs(1 - each))
    height, width = (max(1, round(side * scale / model.multiple)) * model.multiple for side in size)
    if height * width > MOST_INPUT_PIXELS:
        most = f"at most {MOST_INPUT_PIXELS // 10**6} megapixels"
        raise AnnotatorError(
            model.network,
            f"{width}×{height} pixels",
            most,
            "Detect at a lower resolution.",
            says="The picture is too large for this network.",
        )
    return height, width


def border_of(model: TransformersModel, size: tuple[int, int]) -> tuple[int, int]:
    """Return the height of the mirrored border above and below a picture, and its width at the sides, in pixels."""
    height, width = (min(int(model.border * math.sqrt(side / 2)), side - 1) for side in size)
    return height, width


def normal_values(model: TransformersModel, images: Tensor) -> Tensor:
    """Normalize pictures in [0, 1] with the network's mean and deviation; (B, 3, H, W) -> the same shape."""
    mean, deviation = (
        torch.tensor(each, dtype=images.dtype, device=images.device).view(1, 3, 1, 1) for each in model.normal
    )
    return (images - mean) / deviation


def prepare_pixels(model: TransformersModel, images: Tensor) -> Tensor:
    """Make the input of a network.

    Args:
        model: The network.
        images: (B, 3, H, W), float32 in [0, 1].

    Returns:
        (B, 3, h, w), normalized.
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
