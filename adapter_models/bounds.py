"""The largest strengths for a precision; beyond them, blocks overflow and pictures turn black."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .applied import AppliedAdapter
from .errors import AdapterError

# Headroom between the largest accepted residual and the largest number: the UNet adds its own and sums channels.
_HEADROOM = 8


def largest_residual(dtype: torch.dtype) -> float:
    """Return the largest number that a UNet block of this precision can take."""
    # Norm layers square their input, in single precision where the UNet's is lower.
    return min(torch.finfo(dtype).max, math.sqrt(torch.finfo(torch.float32).max)) / _HEADROOM


def peaks_of(levels: Sequence[Tensor]) -> tuple[float, ...]:
    """Return the largest absolute value of each tensor, with a single device synchronisation; 0 on ``meta``."""
    if any(level.is_meta for level in levels):
        return (0.0,) * len(levels)
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
        factors: Each adapter's factor per level: the product of strength, weights and schedule.
        peaks: The largest absolute feature value of each adapter, per level.
        dtypes: Precision of each adapter's features, in which they are multiplied.
        dtype: Precision of the diffusion model, in which they are added.
        mean: The adapters share the largest of their strengths instead of adding up.

    Raises:
        AdapterError: A block would overflow; the message names the adapter that contributes most.
    """
    sums: dict[object, list[tuple[float, int, float]]] = {}
    for number, use in enumerate(uses):
        for site, factor, peak in zip(use.sites, factors[number], peaks[number], strict=False):
            sums.setdefault((site.part, site.index), []).append((abs(factor) * peak, number, factor))
    for parts in sums.values():
        most, number, factor = max(parts)
        limit = min(largest_residual(dtype), *(torch.finfo(dtypes[part[1]]).max for part in parts))
        if not (most if mean else sum(part[0] for part in parts)) <= limit:
            raise AdapterError(
                uses[number].adapter.info.name,
                f"a strength of {factor:.3g} in all, which adds {most:.3g} at a block",
                f"at most {limit:.3g}, the most that the diffusion model's {dtype} can hold",
                "Lower the strength, or the factors that multiply it.",
                says="The adapter's strength is too high for the model's precision: the picture would turn black.",
                topic="strength",
            )
