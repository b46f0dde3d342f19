"""Figures over pictures, with 95 % intervals by bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

RESAMPLES = 2000
LEVEL = 0.95
_SEED = 1
_CHUNK = 100


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def draws(count: int, resamples: int = RESAMPLES) -> Tensor:
    """Draw the pictures of each resample; the same for every set of pictures, so that differences are paired.

    Args:
        count: Number of pictures.
        resamples: Number of resamples.

    Returns:
        Indices (resamples, count), long.
    """
    return torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(_SEED))


def mean_of(values: Tensor) -> Estimate:
    """Estimate the mean of one figure per picture (N,), with the percentiles of its resamples."""
    values = values.double()
    return _between(float(values.mean()), values[draws(len(values))].mean(dim=1))


def figure_of_sums(figure: Callable[[Tensor], Tensor], parts: Tensor) -> Estimate:
    """Estimate a figure that depends on sums over pictures, such as a mean or an intersection over union.

    Args:
        figure: Sums (R, K) -> figures (R,); NaN where the sums leave the figure undefined.
        parts: What each picture adds to the sums, (N, K).

    Returns:
        The figure of all pictures, with the percentiles of its resamples; NaN where it is undefined.
    """
    return figures_of_sums(lambda sums: figure(sums)[:, None], parts)[0]


def figures_of_sums(figures: Callable[[Tensor], Tensor], parts: Tensor) -> list[Estimate]:
    """Estimate several figures of the same sums; see :func:`figure_of_sums`.

    Args:
        figures: Sums (R, K) -> figures (R, M).
        parts: What each picture adds to the sums, (N, K).

    Returns:
        M estimates.
    """
    parts = parts.double()
    chosen = draws(len(parts))
    counts = torch.zeros(chosen.shape, dtype=torch.float64).scatter_add_(1, chosen, torch.ones_like(chosen).double())
    values = figures(parts.sum(dim=0, keepdim=True))[0].tolist()
    again = figures(counts @ parts).unbind(1)
    return [_between(value, column[~column.isnan()]) for value, column in zip(values, again, strict=True)]


def corrected(figure: Callable[[Tensor], Tensor], count: int) -> Estimate:
    """Estimate a quantity that small samples bias, such as a distance, which is never below 0.

    Resampling estimates the bias, which is subtracted, and the interval is reflected accordingly (basic bootstrap).

    Args:
        figure: (R, N) rows of pictures, with repetitions -> (R,).
        count: N.
    """
    plain = float(figure(torch.arange(count)[None])[0])
    again = torch.cat([figure(part) for part in draws(count).split(_CHUNK)])
    ends = _between(plain, again)
    return Estimate(2 * plain - float(again.mean()), 2 * plain - ends.high, 2 * plain - ends.low)


def _between(value: float, again: Tensor) -> Estimate:
    if not len(again):
        return Estimate(value, torch.nan, torch.nan)
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(again, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Estimate(value, low, high)
