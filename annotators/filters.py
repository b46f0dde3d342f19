"""Blurring and morphology for the annotators of drawings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian, as OpenCV does with floating point values; beyond the border the picture is mirrored.

    Args:
        images: (B, C, H, W).
        sigma: Standard deviation in pixels, above 0.

    Returns:
        (B, C, H, W).
    """
    # OpenCV's size of a kernel for floating point values: four sigmas to each side, and odd.
    radius = (round(8 * sigma + 1) | 1) // 2
    # By default GPUs convolve float32 with ten bits, which would move lines.
    exact = images.double() if images.is_cuda else images
    offsets = torch.arange(-radius, radius + 1, device=exact.device, dtype=exact.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    planes = exact.flatten(0, 1).unsqueeze(1)
    rows = planes.index_select(-2, _mirrored(images.shape[-2], radius, images.device))
    planes = functional.conv2d(rows, kernel.view(1, 1, -1, 1))
    columns = planes.index_select(-1, _mirrored(images.shape[-1], radius, images.device))
    return functional.conv2d(columns, kernel.view(1, 1, 1, -1)).view(images.shape).to(images.dtype)


def _mirrored(size: int, radius: int, device: torch.device) -> Tensor:
    """Return the places of -radius to size + radius in a row that goes to and fro, its ends not repeated."""
    places = torch.arange(-radius, size + radius, device=device)
    period = max(2 * (size - 1), 1)
    places = places % period
    return torch.minimum(places, (period - places) % period) if size > 1 else torch.zeros_like(places)


def thin(lines: Tensor) -> Tensor:
    """Thin lines to one pixel, without breaking them.

    Args:
        lines: (B, 1, H, W) bool.

    Returns:
        (B, 1, H, W) bool.

    Source:
        Guo and Hall 1989, "Parallel thinning with two-subiteration algorithms": unlike Zhang and Suen's, it keeps dots.
    """
    before = None
    while before is None or not torch.equal(before, lines):
        before = lines
        for turn in (0, 1):
            lines = lines & ~_removable(lines, turn)
    return lines


def _removable(lines: Tensor, turn: int) -> Tensor:
    """Mark the pixels that may go: at the north and west (turn 0) or the south and east (turn 1) of a line."""
    padded = functional.pad(lines, (1, 1, 1, 1))
    height, width = lines.shape[-2:]
    # Clockwise from the north.
    steps = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
    north, northeast, east, southeast, south, southwest, west, northwest = (
        padded[..., row : row + height, column : column + width] for row, column in steps
    )
    runs = _count(
        ~north & (northeast | east),
        ~east & (southeast | south),
        ~south & (southwest | west),
        ~west & (northwest | north),
    )
    neighbours = torch.minimum(
        _count(northwest | north, northeast | east, southeast | south, southwest | west),
        _count(north | northeast, east | southeast, south | southwest, west | northwest),
    )
    kept = (south | southwest | ~northwest) & west if turn == 0 else (north | northeast | ~southeast) & east
    return (runs == 1) & (neighbours >= 2) & (neighbours <= 3) & ~kept


def _count(*marks: Tensor) -> Tensor:
    first, *others = (mark.to(torch.uint8) for mark in marks)
    return sum(others, first)


def thicken(lines: Tensor, width: int) -> Tensor:
    """Draw lines of one pixel again with a round pen.

    Args:
        lines: (B, 1, H, W) bool.
        width: Diameter of the pen in pixels, at least 1.

    Returns:
        (B, 1, H, W) bool.
    """
    place = torch.arange(width, device=lines.device) - (width - 1) / 2
    pen = (place[:, None] ** 2 + place**2 <= max(width / 2, 0.5) ** 2).to(torch.float32)
    before, after = width // 2, (width - 1) // 2
    padded = functional.pad(lines.to(torch.float32), (before, after, before, after))
    return functional.conv2d(padded, pen.flip(0, 1)[None, None]) > 0.5
