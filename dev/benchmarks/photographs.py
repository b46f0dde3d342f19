"""Photographs for measuring annotators: those of scikit-image, one of the test tools."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def photographs(size: int, count: int) -> list[Bytes]:
    """Return photographs as squares, each (size, size, 3); they repeat from the fifth on."""
    import cv2
    import skimage.data

    found = [getattr(skimage.data, name)() for name in PHOTOGRAPHS]
    squares = [photograph[: min(photograph.shape[:2]), : min(photograph.shape[:2])] for photograph in found]
    scaled = [cv2.resize(square, (size, size), interpolation=cv2.INTER_CUBIC) for square in squares]
    return [scaled[number % len(scaled)] for number in range(count)]


def pictures(found: list[Bytes], device: torch.device) -> torch.Tensor:
    """Return photographs as annotators expect them: (B, 3, size, size) in [0, 1]."""
    return torch.from_numpy(np.stack(found)).movedim(-1, 1).contiguous().float().div(255).to(device)
