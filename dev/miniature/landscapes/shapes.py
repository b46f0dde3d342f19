"""Signed distances to flat shapes, negative inside, for N sprites at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Point = tuple[float, float]


def disc(u: Tensor, v: Tensor, centre: tuple[Tensor | float, Tensor | float], radius: Tensor | float) -> Tensor:
    """Measure the distance to a disc."""
    return torch.hypot(u - centre[0], v - centre[1]) - radius


def capsule(
    u: Tensor, v: Tensor, start: tuple[Tensor | float, ...], end: tuple[Tensor | float, ...], radii: tuple[float, float]
) -> Tensor:
    """Measure the distance to a line with round ends and a radius at each end."""
    right, up = end[0] - start[0], end[1] - start[1]
    along = ((u - start[0]) * right + (v - start[1]) * up) / (right * right + up * up + 1e-9)
    along = along.clamp(0.0, 1.0)
    away = torch.hypot(u - start[0] - along * right, v - start[1] - along * up)
    return away - (radii[0] + (radii[1] - radii[0]) * along)


def polygon(u: Tensor, v: Tensor, corners: Sequence[Point]) -> Tensor:
    """Measure the distance to a convex polygon, corners clockwise seen with v upwards; past corners it is a bound."""
    out: Tensor | None = None
    for (ax, ay), (bx, by) in zip(corners, (*corners[1:], corners[0]), strict=True):
        right, up = bx - ax, by - ay
        length = (right * right + up * up) ** 0.5
        edge = (u - ax) * (-up / length) + (v - ay) * (right / length)
        out = edge if out is None else torch.maximum(out, edge)
    assert out is not None
    return out


def box(u: Tensor, v: Tensor, left_bottom: Point, right_top: Point) -> Tensor:
    """Measure the distance to an upright rectangle; past corners it is a bound."""
    (left, bottom), (right, top) = left_bottom, right_top
    across = (u - (left + right) / 2).abs() - (right - left) / 2
    return torch.maximum(across, (v - (bottom + top) / 2).abs() - (top - bottom) / 2)


def triangle_wave(phase: Tensor) -> Tensor:
    """Return a zigzag of period 1 between -1 and 1."""
    return 4.0 * (phase - torch.floor(phase + 0.5)).abs() - 1.0
