"""Canny edges, pixel for pixel those of OpenCV, which the published adapters were trained with.

All of it is arithmetic on small integers. A mask is an integer that is -1 (all bits set) or 0, so that choosing is
``and`` and ``xor``: several times faster than comparing to booleans and ``torch.where``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from .errors import AnnotatorError
from .images import check_images, strip_rows

TAN_22_5 = 13573 / 2**15  # as OpenCV rounds it
GREATEST = 32767.0  # OpenCV's bound on thresholds
EIGHT_NEIGHBOURS = ((1, 1, 1), (1, 1, 1), (1, 1, 1))


@dataclass(frozen=True)
class Strip:
    """Some rows of a picture, with what their edges depend on around them.

    Attributes:
        values: (3, h, w + 2) bytes as int16: one column more at each side, and two rows of the neighbours above and
            below. At the picture's border the border is repeated, by one.
        outside: Whether the picture ends above and below: 1 or 0 each.
    """

    values: Tensor
    outside: tuple[int, int]


def canny(images: Tensor, low: float = 100.0, high: float = 200.0, l2_gradient: bool = False) -> Tensor:
    """Find edges as ``cv2.Canny`` does with a Sobel aperture of 3.

    Args:
        images: (B, C, H, W) in [0, 1]; rounded to bytes. Colours count by the channel that changes most.
        low: Gradient above which a pixel continues an edge, in bytes. Swapped with ``high`` where it is the greater.
        high: Gradient above which a pixel begins an edge.
        l2_gradient: Measure gradients by their length instead of the sum of their parts.

    Returns:
        (B, 3, H, W) of the input's type: 1 on edges, else 0.

    Raises:
        AnnotatorError: The input is no picture, or a threshold is no number.

    Source:
        Canny 1986; the rounding and the ties are those of OpenCV 4 and 5.
    """
    color = check_images("Canny, image", images)
    bounds = _thresholds(low, high, l2_gradient)
    rows = strip_rows(color)
    edges = []
    for picture in color:
        strips = [_candidates(strip, *bounds, l2_gradient) for strip in _strips(picture, rows)]
        weak, strong = (torch.cat(parts) for parts in zip(*strips, strict=True))
        edges.append(connect(weak, strong))
    return torch.stack(edges).unsqueeze(1).to(images.dtype).expand(-1, 3, -1, -1)


def _thresholds(low: float, high: float, l2_gradient: bool) -> tuple[int, int]:
    for name, value in (("low", low), ("high", high)):
        if not math.isfinite(value):
            raise AnnotatorError(f"Canny, {name} threshold", str(value), "a number from 0 to 255, or above")
    # No gradient is below 0, so all thresholds there are alike.
    low, high = sorted(min(max(value, -1.0), GREATEST) for value in (low, high))
    if l2_gradient:
        low, high = (value * value if value > 0 else value for value in (low, high))
    return math.floor(low), math.floor(high)


def _strips(picture: Tensor, rows: int) -> Iterator[Strip]:
    """Cut a picture (3, H, W) in [0, 1] into strips of a number of rows."""
    height = picture.shape[-2]
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        values = (picture[:, max(top - 2, 0) : bottom + 2] * 255).round().to(torch.int16)
        # Nodes hand over pixels with their channels side by side; joining puts each channel by itself, which is quick.
        wide = torch.cat([values[..., :1], values, values[..., -1:]], -1)
        above, below = wide[:, : int(top == 0)], wide[:, wide.shape[1] - int(bottom >= height - 1) :]
        yield Strip(torch.cat([above, wide, below], 1), (int(top == 0), int(bottom == height)))


def _candidates(strip: Strip, low: int, high: int, l2_gradient: bool) -> tuple[Tensor, Tensor]:
    """Find the pixels that continue and those that begin an edge.

    Args:
        strip: h + 4 rows, or one less at each border.
        low: See :func:`canny`; squared where lengths are.
        high: See :func:`canny`.
        l2_gradient: See :func:`canny`.

    Returns:
        Two masks (h, w) of bool.
    """
    dx, dy, norm = _gradient(strip.values, l2_gradient)
    # Nothing is greater than what lies outside of the picture.
    norm = functional.pad(norm, (1, 1, *strip.outside))
    rows = slice(1 - strip.outside[0], dx.shape[-2] - 1 + strip.outside[1])
    ridge = _ridge(dx[rows], dy[rows], norm)
    middle = norm[1:-1, 1:-1]
    greatest = int(torch.iinfo(norm.dtype).max) // 2
    return tuple((ridge & _less(min(bound, greatest), middle)).bool() for bound in (low, high))  # type: ignore[return-value]


def _gradient(values: Tensor, l2_gradient: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return Sobel's dx and dy of the channel where their norm is greatest (the first of equals), and the norm."""
    across = torch.add(values[:, :-2], values[:, 1:-1], alpha=2) + values[:, 2:]
    down = torch.add(values[..., :-2], values[..., 1:-1], alpha=2) + values[..., 2:]
    all_dx, all_dy = across[..., 2:] - across[..., :-2], down[:, 2:] - down[:, :-2]
    norms = _squares(all_dx) + _squares(all_dy) if l2_gradient else all_dx.abs() + all_dy.abs()
    dx, dy, norm = all_dx[0], all_dy[0], norms[0]
    for channel in (1, 2):
        greater = _less(norm, norms[channel]).to(dx.dtype)
        dx, dy = _choose(greater, all_dx[channel], dx), _choose(greater, all_dy[channel], dy)
        norm = torch.maximum(norm, norms[channel])
    return dx, dy, norm


def _squares(values: Tensor) -> Tensor:
    wide = values.to(torch.int32)
    return wide * wide


def _ridge(dx: Tensor, dy: Tensor, norm: Tensor) -> Tensor:
    """Mark the pixels whose norm is greatest across the edge.

    Args:
        dx: (h, w) int16.
        dy: (h, w) int16.
        norm: (h + 2, w + 2), with the neighbours of the outermost pixels.

    Returns:
        A mask (h, w).
    """
    width, height = dx.abs(), dy.abs()
    # Exact in float32: a factor of 14 bits times one of 10. Where dx is 0 the edge is crossed vertically.
    flat = (width.to(torch.float32) * TAN_22_5).ceil().to(torch.int16)
    across, upright = _less(height, flat), ~_less(height, flat + width + width)
    falling = ~((dx ^ dy) >> 15)

    def neighbour(row: int, column: int) -> Tensor:
        return norm[1 + row : norm.shape[0] - 1 + row, 1 + column : norm.shape[1] - 1 + column]

    def along(side: int) -> Tensor:
        slanted = _choose(falling, neighbour(side, side), neighbour(side, -side))
        return _choose(across, neighbour(0, side), _choose(upright, neighbour(side, 0), slanted))

    middle = neighbour(0, 0)
    # Of two equal neighbours across or upright the first is taken; slanted, neither is.
    strict = ~(across | upright) & 1
    return _less(along(-1), middle) & ~_less(middle, along(1) + strict)


def _less(first: Tensor | int, second: Tensor) -> Tensor:
    """Return -1 where the first is less, else 0: the sign of the difference, which never overflows here."""
    difference = first - second
    return difference >> (8 * difference.element_size() - 1)


def _choose(mask: Tensor, then: Tensor, otherwise: Tensor) -> Tensor:
    return otherwise ^ ((then ^ otherwise) & mask)


def connect(weak: Tensor, strong: Tensor) -> Tensor:
    """Keep the weak pixels that touch strong ones, through other weak ones too.

    Args:
        weak: (H, W) bool; the strong pixels are among them.
        strong: (H, W) bool.

    Returns:
        (H, W) bool, on the input's device. It is worked out on the CPU: bits are quickly copied, and one pass over
        them beats a hundred rounds of growing.
    """
    labels, count = ndimage.label(weak.cpu().numpy(), EIGHT_NEIGHBOURS)
    kept = np.zeros(count + 1, dtype=bool)
    kept[labels[strong.cpu().numpy()]] = True
    return torch.from_numpy(kept[labels]).to(weak.device)
