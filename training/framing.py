"""How a picture was cut to its bucket, as SDXL is told it."""

from __future__ import annotations

from dataclasses import dataclass

from .buckets import PixelSize


@dataclass(frozen=True)
class Framing:
    """The part of a picture that an example shows; all in pixels.

    Attributes:
        original: Height and width of the picture in its file, upright.
        corner: Top and left edge of the part in the resized picture.
        target: Height and width of the part.
    """

    original: PixelSize
    corner: PixelSize
    target: PixelSize


def framing_of(original: PixelSize, target: PixelSize) -> Framing:
    """Return how :func:`..adapter_models.hint.fit_to` crops a picture.

    Args:
        original: Height and width of the picture.
        target: Size of its bucket.

    Source: arXiv 2307.01952, section 2.2: the original size, and the corner in pixels of the resized picture.
    """
    scale = max(new / old for new, old in zip(target, original, strict=True))
    top, left = (max(0, round(old * scale) - new) // 2 for new, old in zip(target, original, strict=True))
    return Framing(original, (top, left), target)
