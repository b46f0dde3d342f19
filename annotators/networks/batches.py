"""Shared by line annotators with a network: bounds on size, batches in bounded memory, thresholds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import AnnotatorError
from ..images import check_images

# The networks keep about 60 channels at full size: 0.75 kB per pixel in float32, measured, so 13 GB at this limit. More
# makes many machines swap or kill the process. Tiling is not possible: lineart normalises over the whole picture.
MOST_LINE_PIXELS = 4096 * 4096
# Batches are computed in parts of about this many pixels, to bound their memory.
PIXELS_AT_ONCE = 1024 * 1024


def draw_in_parts(
    where: str, network: nn.Module, images: Tensor, least: int, compute: Callable[[Tensor], Tensor]
) -> Tensor:
    """Check pictures and run them through a network, in parts that bound the memory.

    Args:
        where: The annotator, for messages.
        network: Gives the precision to compute in: that of its weights.
        images: (B, C, H, W) in [0, 1].
        least: Smallest height and width that the network can process, in pixels.
        compute: (b, 3, H, W) in [0, 1], in the network's precision -> (b, 1, H, W).

    Returns:
        (B, 1, H, W), float32.

    Raises:
        AnnotatorError: The input is not pictures, or they are too small or too large.
    """
    images = check_images(where, images)
    height, width = images.shape[-2:]
    if min(height, width) < least:
        raise AnnotatorError(
            where,
            f"a picture of {width}×{height} pixels",
            f"at least {least}×{least}",
            "Enlarge it.",
            says="The picture is too small for this network.",
        )
    if height * width > MOST_LINE_PIXELS:
        most = f"at most {MOST_LINE_PIXELS // 10**6} megapixels"
        raise AnnotatorError(
            where,
            f"a picture of {width}×{height} pixels",
            most,
            "Make it smaller before.",
            says="The picture is too large for this network.",
        )
    dtype = next(network.parameters()).dtype
    parts = images.split(max(1, PIXELS_AT_ONCE // (height * width)))
    return torch.cat([compute(part.to(dtype)).to(torch.float32) for part in parts])


def check_threshold(where: str, threshold: float) -> None:
    """Refuse a threshold outside [0, 1)."""
    if not 0 <= threshold < 1:
        expected = "0 (soft lines) or more, and less than 1"
        raise AnnotatorError(
            where,
            f"a threshold of {threshold:g}",
            expected,
            "0.5 suits sketch adapters.",
            says="The threshold is out of range.",
        )


def as_picture(lines: Tensor, threshold: float) -> Tensor:
    """Convert lines to a condition image.

    Args:
        lines: (B, 1, H, W) in [0, 1].
        threshold: Lines above it become white, the rest black; 0 keeps the soft lines.

    Returns:
        (B, 3, H, W).
    """
    if threshold > 0:
        lines = (lines > threshold).to(lines.dtype)
    return lines.repeat(1, 3, 1, 1)
