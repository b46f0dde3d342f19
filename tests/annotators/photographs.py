"""Photographs as bytes (H, W, 3), and the way from bytes to pictures and back."""

from __future__ import annotations

import functools

import numpy as np
import skimage.data
import torch

NAMES = ("astronaut", "coffee", "chelsea", "rocket", "camera")


@functools.cache
def photograph(name: str) -> np.ndarray:
    """One of NAMES; the gray one has three equal channels."""
    found = getattr(skimage.data, name)()
    return found if found.ndim == 3 else np.repeat(found[..., None], 3, axis=-1)


def pictures(*photographs: np.ndarray) -> torch.Tensor:
    """(B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack(photographs)).movedim(-1, 1).to(torch.float32) / 255


def as_bytes(images: torch.Tensor) -> np.ndarray:
    """(B, H, W, 3) bytes; values that no byte stands for fail."""
    scaled = images.to(torch.float32) * 255
    assert (scaled - scaled.round()).abs().max() < 1e-3
    return scaled.round().to(torch.uint8).movedim(1, -1).numpy()
