"""Intervals by bootstrap, and the Fréchet distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

RESAMPLES = 2000
LEVEL = 0.95
SEED = 1
CHUNK = 100


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Moments:
    """Mean (D,) and covariance (D, D) in float64; batched in a leading dimension."""

    mean: Tensor
    covariance: Tensor


def draws(count: int, resamples: int = RESAMPLES) -> Tensor:
    """Draw the scenes of each resample; the same for every variant, so that differences are paired.

    Returns:
        Indices (resamples, count), long.
    """
    return torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(SEED))


def mean_of(values: Tensor) -> Estimate:
    """Estimate the mean of one figure per scene (N,), with the percentiles of its resamples."""
    values = values.double()
    again = values[draws(len(values))].mean(dim=1)
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(again, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Estimate(float(values.mean()), low, high)


def corrected(figure: Callable[[Tensor], Tensor], count: int) -> Estimate:
    """Estimate a quantity that small samples bias, such as a distance, which is never below 0.

    Resampling estimates the bias, which is subtracted, and the interval is reflected accordingly (basic bootstrap).

    Args:
        figure: (R, N) rows of scenes, with repetitions -> (R,).
        count: N.
    """
    plain = float(figure(torch.arange(count)[None])[0])
    again = torch.cat([figure(part) for part in draws(count).split(CHUNK)])
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(again, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Estimate(2 * plain - float(again.mean()), 2 * plain - high, 2 * plain - low)


def moments(features: Tensor) -> Moments:
    """Return the moments of features (..., N, D)."""
    features = features.double()
    mean = features.mean(dim=-2)
    centred = features - mean.unsqueeze(-2)
    return Moments(mean, centred.mT @ centred / (features.shape[-2] - 1))


def frechet(first: Moments, second: Moments) -> Tensor:
    """Return the squared Fréchet distance between Gaussians.

    Args:
        first: Moments of one set, or of several.
        second: Moments of one set.

    Returns:
        One number per first set.

    Source: Dowson & Landau 1982, "The Fréchet distance between multivariate normal distributions".
    """
    root = _root(second.covariance)
    # √(A B) and √(√B A √B) have the same trace; the latter is symmetric, so its eigenvalues are accurate.
    cross = torch.linalg.eigvalsh(root @ first.covariance @ root).clamp(min=0).sqrt().sum(dim=-1)
    traces = _trace(first.covariance) + _trace(second.covariance)
    return (first.mean - second.mean).square().sum(dim=-1) + traces - 2 * cross


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.mT


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
