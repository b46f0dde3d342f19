"""The check of pictures, and their luma."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import PackError

# Resizing and sharpening overshoot slightly, which is clamped; a picture in [-1, 1] or [0, 255] is a mistake.
LOWEST, HIGHEST = -0.5, 1.5
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class ImageCheck:
    """The check of a picture, with what a library raises and advises.

    Attributes:
        error: What to raise.
        if_empty: The fix for an empty batch.
        if_whole_numbers: The fix for another type than floating point.
        if_out_of_range: The fix for NaN and values outside [0, 1].
    """

    error: type[PackError]
    if_empty: str
    if_whole_numbers: str
    if_out_of_range: str

    def form(self, where: str, image: Tensor) -> None:
        """Refuse another shape than (B, C, H, W) with C of 1 to 4, an empty batch, and other types than floating point.

        Args:
            where: The input, for messages.
            image: A picture, or something else.

        Raises:
            PackError: Of the class ``error``.
        """
        shape = tuple(image.shape)
        if image.ndim != 4 or shape[1] not in (1, 2, 3, 4) or 0 in shape:
            fix = self.if_empty if 0 in shape else "Connect a node that makes pictures."
            raise self.error(where, f"a tensor of shape {shape}", "pictures (B, C, H, W) with 1 to 4 channels", fix)
        if not image.is_floating_point():
            found, expected = f"numbers of type {image.dtype}", "floating-point values in [0, 1]"
            raise self.error(where, found, expected, self.if_whole_numbers)

    def values(self, where: str, values: Tensor) -> tuple[float, float]:
        """Refuse NaN and values far outside [0, 1].

        Args:
            where: The input, for messages.
            values: Floating point, not empty.

        Returns:
            The lowest and the highest.

        Raises:
            PackError: Of the class ``error``.
        """
        low, high = (float(value) for value in torch.aminmax(values))
        if not LOWEST <= low <= high <= HIGHEST:
            found = "NaN" if math.isnan(low) or math.isnan(high) else f"values from {low:.3g} to {high:.3g}"
            raise self.error(where, found, "values in [0, 1]", self.if_out_of_range)
        return low, high


def luma(images: Tensor) -> Tensor:
    """Return the luma of BT.601; gray pixels keep their exact value.

    Args:
        images: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 1, H, W) of the same type.
    """
    weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    # The weights sum to one only approximately.
    gray = (images[:, :1] == images).all(1, keepdim=True)
    return torch.where(gray, images[:, :1], (images * weights).sum(1, keepdim=True))
