"""Canny edges, pixel for pixel those of OpenCV, which the published adapters were trained with.

Gradients are computed everywhere; the later steps see only the few pixels above the lower threshold, as in OpenCV. All
values are small whole numbers: int16, or float32 (exact up to 2**24) for squared lengths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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
        values: (3, h, w + 2) bytes as int16 or float32: one column more at each side, and two rows of the neighbours
            above and below. At the picture's border the border is repeated, by one.
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
        AnnotatorError: The input is not pictures, or a threshold is not finite.

    Source:
        Canny 1986; the rounding and the ties are those of OpenCV 4 and 5.
    """
    color = check_images("Canny, image", images)
    bounds = _thresholds(low, high, l2_gradient)
    rows = strip_rows(color)
    dtype = torch.float32 if l2_gradient else torch.int16
    edges = []
    for picture in color:
        strips = [_candidates(strip, *bounds, l2_gradient) for strip in _strips(picture, rows, dtype)]
        size = picture.shape[-1] * rows
        weak = torch.cat([pixels + number * size for number, (pixels, _) in enumerate(strips)])
        edges.append(connect(weak, torch.cat([strong for _, strong in strips]), picture.shape[-2:]))
    return torch.stack(edges).unsqueeze(1).to(images.dtype).expand(-1, 3, -1, -1)


def _thresholds(low: float, high: float, l2_gradient: bool) -> tuple[int, int]:
    for name, value in (("low", low), ("high", high)):
        if not math.isfinite(value):
            expected = "a number from 0 to 255, or above"
            raise AnnotatorError(
                f"Canny, {name} threshold",
                str(value),
                expected,
                "Enter one.",
                says="A threshold must be a finite number.",
            )
    # Gradients are never negative, so all thresholds below 0 are equal.
    low, high = sorted(min(max(value, -1.0), GREATEST) for value in (low, high))
    if l2_gradient:
        low, high = (value * value if value > 0 else value for value in (low, high))
    return math.floor(low), math.floor(high)


def _strips(picture: Tensor, rows: int, dtype: torch.dtype) -> Iterator[Strip]:
    """Cut a picture (3, H, W) in [0, 1] into strips of a number of rows, and of a type."""
    height = picture.shape[-2]
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        values = (picture[:, max(top - 2, 0) : bottom + 2] * 255).round_().to(dtype)
        # Nodes pass channels-last pixels; concatenating stores each channel contiguously, which is fast.
        wide = torch.cat([values[..., :1], values, values[..., -1:]], -1)
        if top == 0:
            wide = torch.cat([wide[:, :1], wide], 1)
        if bottom >= height - 1:
            wide = torch.cat([wide, wide[:, -1:]], 1)
        yield Strip(wide, (int(top == 0), int(bottom == height)))


def _candidates(strip: Strip, low: int, high: int, l2_gradient: bool) -> tuple[Tensor, Tensor]:
    """Find the pixels that continue and those that begin an edge.

    Args:
        strip: h + 4 rows, or one less at each border.
        low: See :func:`canny`; squared where lengths are.
        high: See :func:`canny`.
        l2_gradient: See :func:`canny`.

    Returns:
        (n,) int32, the pixels that continue or begin an edge, counted row by row; and (n,) bool, which begin one.
    """
    dx, dy, norms = _gradients(strip.values, l2_gradient)
    # Zeros outside the picture: no neighbour there is greater.
    norm = functional.pad(torch.maximum(torch.maximum(norms[0], norms[1]), norms[2]), (1, 1, *strip.outside))
    inner = norm[1:-1, 1:-1]
    width, line = inner.shape[-1], inner.shape[-1] + 2
    pixels = (inner > low).flatten().nonzero().squeeze(-1).to(torch.int32)  # half as long as int64 to go through
    # The same pixels in the gradients, which have a row of neighbours inside the picture, and in the padded norm.
    channel, middle = _greatest(norms.flatten(1), here := pixels + (1 - strip.outside[0]) * width)
    here += channel * dx[0].numel()
    there = pixels + pixels.div(width, rounding_mode="floor").mul_(2).add_(line + 1)
    step, strict = _direction(dx.flatten().index_select(0, here), dy.flatten().index_select(0, here), line)
    values = norm.flatten()
    before, after = values.index_select(0, there - step), values.index_select(0, there + step)
    weak = (middle > before) & ((middle > after) | (middle == after) & ~strict)
    return pixels[weak], middle[weak] > high


def _gradients(values: Tensor, l2_gradient: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return Sobel's dx and dy of each channel, and their norm (squared, where it is a length)."""
    across = torch.add(values[:, :-2], values[:, 1:-1], alpha=2).add_(values[:, 2:])
    down = torch.add(values[..., :-2], values[..., 1:-1], alpha=2).add_(values[..., 2:])
    dx, dy = across[..., 2:] - across[..., :-2], down[:, 2:] - down[:, :-2]
    return dx, dy, (dx * dx).addcmul_(dy, dy) if l2_gradient else dx.abs().add_(dy.abs())


def _greatest(norms: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Find the channel where the norm is greatest, the first of equals, and that norm.

    Args:
        norms: (3, h * w).
        pixels: (n,) int32.

    Returns:
        (n,) int32 and (n,).
    """
    first, second, third = (channel.index_select(0, pixels) for channel in norms)
    of_two = torch.maximum(first, second)
    channel = (second > first).to(pixels.dtype).masked_fill_(third > of_two, 2)
    return channel, torch.maximum(of_two, third)


def _direction(dx: Tensor, dy: Tensor, line: int) -> tuple[Tensor, Tensor]:
    """Say which neighbours lie across an edge.

    Args:
        dx: (n,).
        dy: (n,).
        line: How far the pixel below is.

    Returns:
        (n,) int32, how far one neighbour is; the other lies opposite. And (n,) bool, whether an edge must be greater
        than both: of two equal ones the first is taken, but not on a slant.
    """
    width, height = dx.abs(), dy.abs()
    # Exact in float32: a factor of 14 bits times one of 10. Where dx is 0 the edge is crossed vertically.
    flat = (width.to(torch.float32) * TAN_22_5).ceil_().to(dx.dtype)
    across, upright = height < flat, height >= flat + width + width
    slanted = ((dx < 0) != (dy < 0)).to(torch.int32).mul_(-2).add_(line + 1)
    step = slanted.masked_fill_(upright, line).masked_fill_(across, 1)
    return step, ~(across | upright)


def connect(weak: Tensor, strong: Tensor, shape: Sequence[int]) -> Tensor:
    """Keep the weak pixels that are connected to strong ones.

    Args:
        weak: (n,) int32, pixels counted row by row.
        strong: (n,) bool, which of them are strong.
        shape: (H, W).

    Returns:
        (H, W) bool, on the input's device. Computed on the CPU: the copy is cheap, and one pass of labelling beats
        a hundred rounds of growing.
    """
    pixels = weak.cpu().numpy()
    edges = np.zeros(math.prod(shape), dtype=bool)
    edges[pixels] = True
    labels, count = ndimage.label(edges.reshape(shape), EIGHT_NEIGHBOURS)
    found = labels.reshape(-1)[pixels]
    kept = np.zeros(count + 1, dtype=bool)
    kept[found[strong.cpu().numpy()]] = True
    edges[pixels] = kept[found]
    return torch.from_numpy(edges.reshape(shape)).to(weak.device)
