"""The check of images, and their luma."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import PackError

# Resizing and sharpening overshoot slightly, which is clamped; a picture in [-1, 1] or [0, 255] is a mistake.
LOWEST, HIGHEST = -0.5, 1.5
FIX_VALUES = "Scale the values to [0, 1]."
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class ImageCheck:
    """The check of images.

    Attributes:
        error: The class that a library raises.
    """

    error: type[PackError]

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
            says = "The image is empty." if 0 in shape else "This is not an image."
            raise self.error(
                where,
                f"a tensor of shape {shape}",
                "pictures (B, C, H, W) with 1 to 4 channels",
                "Pass at least one image." if 0 in shape else "Pass images.",
                says=says,
                topic="image-values" if 0 in shape else "image-shape",
            )
        if not image.is_floating_point():
            found, expected = f"numbers of type {image.dtype}", "floating-point values in [0, 1]"
            says = "The image holds whole numbers instead of values from 0 to 1."
            raise self.error(where, found, expected, "Divide bytes by 255.", says=says, topic="image-values")

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
            broken = math.isnan(low) or math.isnan(high)
            found = "NaN" if broken else f"values from {low:.3g} to {high:.3g}"
            says = "The image holds NaN." if broken else "The image has values far outside 0 to 1."
            raise self.error(where, found, "values in [0, 1]", FIX_VALUES, says=says, topic="image-values")
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
