"""Exact condition maps of scenes: sketch, colour palette, segmentation and depth, all (B, C, H, W) in [0, 1]."""

from __future__ import annotations

import torch
from torch.nn import functional

from .scenes import KINDS, SLOTS, Scenes, labels

CELLS = 8
# Black for the background, then the first Pascal-VOC colours, as in T2I-Adapter's segmentation maps.
SEGMENT_RGB: tuple[tuple[int, int, int], ...] = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))


def sketch(field: torch.Tensor, half_width: torch.Tensor | float = 1.0) -> torch.Tensor:
    """Draw the visible outlines, white on black.

    Args:
        field: `scenes.distances` (B, 3, H, W).
        half_width: half of the line's width in pixels, a number or (B, 1, 1, 1).

    Returns:
        (B, 1, H, W).
    """
    lines = torch.zeros_like(field[:, :1])
    for slot in range(SLOTS):
        shape = field[:, slot : slot + 1]
        hidden = lines * (shape + 0.5).clamp(0.0, 1.0)
        lines = torch.maximum(hidden, (half_width + 0.5 - shape.abs()).clamp(0.0, 1.0))
    return lines


def palette(picture: torch.Tensor, cells: int = CELLS, sampling: str = "area") -> torch.Tensor:
    """Reduce a picture to a grid of colours and enlarge it again without smoothing.

    Args:
        picture: (B, 3, H, W) in [0, 1].
        cells: cells along each side.
        sampling: "area", the mean of each cell, or "bicubic", the paper's plain bicubic samples.

    Returns:
        (B, 3, H, W).

    Raises:
        ValueError: unknown sampling.
    """
    if sampling == "area":
        small = functional.interpolate(picture, size=(cells, cells), mode="area")
    elif sampling == "bicubic":
        small = functional.interpolate(picture, size=(cells, cells), mode="bicubic", antialias=False).clamp(0.0, 1.0)
    else:
        raise ValueError(f"palette: got sampling {sampling!r}; expected 'area' or 'bicubic'.")
    return functional.interpolate(small, size=picture.shape[-2:], mode="nearest")


def segmentation(scenes: Scenes, field: torch.Tensor) -> torch.Tensor:
    """Colour each pixel by the kind of its frontmost shape, black for the background; returns (B, 3, H, W)."""
    classes = torch.cat((torch.zeros_like(scenes.count)[:, None], scenes.kind + 1), dim=1)
    front = labels(field)
    classes = torch.gather(classes, 1, front.flatten(1)).view(front.shape)
    table = torch.tensor(SEGMENT_RGB[: len(KINDS) + 1], device=field.device) / 255.0
    return table[classes].permute(0, 3, 1, 2).contiguous()


def depth(field: torch.Tensor) -> torch.Tensor:
    """Shade by depth order: background 0, the shape in slot i (i + 1) / 3, nearer is brighter; (B, 3, H, W)."""
    return (labels(field)[:, None].float() / SLOTS).expand(-1, 3, -1, -1).contiguous()
