"""What the learned line annotators share: bounds on size, batches in bounded memory, thresholds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import AnnotatorError
from ..images import check_images

# The networks hold some 60 channels at full size: 0.75 kB per pixel in float32, measured, so 13 GB here. Beyond it many
# machines would swap or kill the process. Tiles would not do: lineart normalises over the whole picture.
MOST_PIXELS = 4096 * 4096
# A batch is computed in parts of about this many pixels, so that its memory is that of one large picture.
PIXELS_AT_ONCE = 1024 * 1024


def annotate(where: str, network: nn.Module, images: Tensor, least: int, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """Check pictures and run them through a network, as many at once as memory should hold.

    Args:
        where: The annotator, for messages.
        network: Gives the precision to compute in: that of its weights.
        images: (B, C, H, W) in [0, 1].
        least: Smallest height and width that the network can shrink, in pixels.
        compute: (b, 3, H, W) in [0, 1], in the network's precision -> (b, 1, H, W).

    Returns:
        (B, 1, H, W), float32.

    Raises:
        AnnotatorError: No pictures, or of a size that can't be computed.
    """
    images = check_images(where, images)
    height, width = images.shape[-2:]
    if min(height, width) < least:
        raise AnnotatorError(where, f"a picture of {width}×{height} pixels", f"at least {least}×{least}", "Enlarge it.")
    if height * width > MOST_PIXELS:
        most = f"at most {MOST_PIXELS // 10**6} megapixels"
        raise AnnotatorError(where, f"a picture of {width}×{height} pixels", most, "Make it smaller before.")
    dtype = next(network.parameters()).dtype
    parts = images.split(max(1, PIXELS_AT_ONCE // (height * width)))
    return torch.cat([compute(part.to(dtype)).to(torch.float32) for part in parts])


def check_threshold(where: str, threshold: float) -> None:
    """Refuse a threshold that leaves nothing, or that means nothing."""
    if not 0 <= threshold < 1:
        expected = "0 (soft lines) or more, and less than 1"
        raise AnnotatorError(where, f"a threshold of {threshold:g}", expected, "0.5 suits sketch adapters.")


def as_picture(lines: Tensor, threshold: float) -> Tensor:
    """Turn lines into a condition image.

    Args:
        lines: (B, 1, H, W) in [0, 1].
        threshold: Above it white, else black; 0 keeps the soft lines.

    Returns:
        (B, 3, H, W).
    """
    if threshold > 0:
        lines = (lines > threshold).to(lines.dtype)
    return lines.repeat(1, 3, 1, 1)
