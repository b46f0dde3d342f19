"""Strengths that the diffusion model's precision can hold: beyond them a picture is black, without a word."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .applied import AppliedAdapter
from .errors import AdapterError

# Between the largest residual that is taken and the largest number there is: the UNet adds its own and sums channels.
ROOM = 8


def largest_residual(dtype: torch.dtype) -> float:
    """Return the greatest number that a block of a UNet of this precision can be given."""
    # Norms square what they get, in single precision where the UNet's is lower.
    return min(torch.finfo(dtype).max, math.sqrt(torch.finfo(torch.float32).max)) / ROOM


def peaks_of(levels: Sequence[Tensor]) -> tuple[float, ...]:
    """Return the greatest absolute value of each tensor; waits for their device once."""
    return tuple(torch.stack([level.abs().amax().to(torch.float32) for level in levels]).tolist())


def check_strengths(
    uses: Sequence[AppliedAdapter],
    factors: Sequence[Sequence[float]],
    peaks: Sequence[Sequence[float]],
    dtypes: Sequence[torch.dtype],
    dtype: torch.dtype,
    *,
    mean: bool = False,
) -> None:
    """Refuse strengths whose residuals would be infinite in the UNet.

    Args:
        uses: The adapters.
        factors: For each adapter the factor of each level, all of strength, weights and time multiplied.
        peaks: For each adapter the greatest absolute value of each level's features.
        dtypes: Precision of the features of each adapter, in which they are multiplied.
        dtype: That of the diffusion model, in which they are added.
        mean: The adapters share the largest of their strengths, instead of adding up.

    Raises:
        AdapterError: A block would get more than it can hold; names the adapter that gives the most.
    """
    sums: dict[object, list[tuple[float, int, float]]] = {}
    for number, use in enumerate(uses):
        for site, factor, peak in zip(use.sites, factors[number], peaks[number], strict=False):
            sums.setdefault((site.kind, site.index), []).append((abs(factor) * peak, number, factor))
    for parts in sums.values():
        most, number, factor = max(parts)
        limit = min(largest_residual(dtype), *(torch.finfo(dtypes[part[1]]).max for part in parts))
        if not (most if mean else sum(part[0] for part in parts)) <= limit:
            raise AdapterError(
                f"Apply T2I-Adapter, {uses[number].adapter.about.name}",
                f"a strength of {factor:.3g} in all, with which a block would be given {most:.3g}",
                f"at most {limit:.3g}, what the diffusion model's {dtype} can hold",
                "Lower the strength, or its factors in T2I-Adapter Level Weights and T2I-Adapter Schedule.",
            )
