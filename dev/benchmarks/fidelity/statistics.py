"""The Fréchet distance; intervals by bootstrap are those of the evaluation command."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ....cli.evaluation.statistics import Estimate, corrected, draws, mean_of

__all__ = ["Estimate", "Moments", "corrected", "draws", "frechet", "mean_of", "moments"]


@dataclass(frozen=True)
class Moments:
    """Mean (D,) and covariance (D, D) in float64; batched in a leading dimension."""

    mean: Tensor
    covariance: Tensor


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
