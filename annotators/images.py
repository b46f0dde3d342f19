"""Shared by all annotators: the check of pictures, bytes, and annotating at another resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..common.images import ImageCheck
from .errors import AnnotatorError

# Pixels at a time on the CPU: few enough for its cache, enough to make calls cheap.
STRIP = 2**17
IMAGE_CHECK = ImageCheck(AnnotatorError)


def check_images(where: str, images: Tensor) -> Tensor:
    """Check pictures and return them with three channels.

    Args:
        where: The annotator, for messages.
        images: (B, C, H, W) in [0, 1], floating point, C of 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA). Alpha is
            dropped, gray is repeated.

    Returns:
        (B, 3, H, W) float32, clamped to [0, 1].

    Raises:
        AnnotatorError: Another shape or type, an empty batch, NaN, or another range of values.
    """
    IMAGE_CHECK.form(where, images)
    color = images[:, : 3 if images.shape[1] >= 3 else 1].to(torch.float32)
    # In memory order, which is channels last for nodes: twenty times faster.
    pixels = color.movedim(1, -1)
    low, high = IMAGE_CHECK.values(where, pixels if pixels.is_contiguous() else color)
    clamped = color if low >= 0 and high <= 1 else color.clamp(0, 1)
    return clamped.expand(-1, 3, -1, -1)


def to_bytes(images: Tensor) -> Tensor:
    """Round values in [0, 1] to the bytes that a file would hold.

    Args:
        images: Any shape, in [0, 1].

    Returns:
        The same shape, uint8. A byte divided by 255 gives the same byte.
    """
    return (images * 255).round().to(torch.uint8)


def from_bytes(values: Tensor, like: Tensor) -> Tensor:
    """Return bytes as values in [0, 1] of the type of another tensor."""
    return (values.to(torch.float32) / 255).to(like.dtype)


def strip_rows(images: Tensor) -> int:
    """Return how many rows to compute at a time: few on the CPU, all elsewhere."""
    height, width = images.shape[-2:]
    return max(32, STRIP // width) if images.device.type == "cpu" else height


def resize(images: Tensor, size: tuple[int, int], mode: Literal["smooth", "nearest"] = "smooth") -> Tensor:
    """Resize pictures, aligned by their edges, so that nothing moves.

    Args:
        images: (B, C, H, W).
        size: Height and width of the result.
        mode: ``smooth`` averages where it shrinks, interpolates where it grows and overshoots nothing; ``nearest``
            makes no new values.

    Returns:
        (B, C, *size); the input itself where the size is right.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    if mode == "nearest":
        return functional.interpolate(images, size=size, mode="nearest-exact")
    return functional.interpolate(images, size=size, mode="bilinear", antialias=True)


def at_resolution(
    images: Tensor,
    resolution: int,
    annotate: Callable[[Tensor], Tensor],
    mode: Literal["smooth", "nearest"] = "smooth",
) -> Tensor:
    """Annotate at another resolution, and resize the result to the size of the pictures.

    Args:
        images: (B, C, H, W) in [0, 1].
        resolution: Short side in pixels at which to annotate; 0 for the pictures' own size.
        annotate: From (B, C, h, w) to (B, 3, h, w).
        mode: How the result is resized; see :func:`resize`.

    Returns:
        (B, 3, H, W).

    Raises:
        AnnotatorError: A negative resolution.
    """
    if resolution < 0:
        expected = "0 (the picture's own) or a short side in pixels"
        raise AnnotatorError(
            "resolution", str(resolution), expected, "0 is right for most pictures.", says="The resolution is negative."
        )
    height, width = images.shape[-2:]
    if resolution in (0, min(height, width)):
        return annotate(images)
    scale = resolution / min(height, width)
    small = resize(images, (max(1, round(height * scale)), max(1, round(width * scale))))
    return resize(annotate(small), (height, width), mode).clamp(0, 1)
