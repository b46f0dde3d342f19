"""Numbers that follow from a scene's seed alone, on every device and in every batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..scenes import mixed

GOLDEN = 0x9E3779B1


class Dice:
    """Draws numbers for B seeds; the n-th call always gives a seed the same numbers.

    Args:
        seed: (B,) long, 0 to 2**32 - 1.
        stream: another number gives other numbers.
    """

    def __init__(self, seed: torch.Tensor, stream: int = 0) -> None:
        self.seed = seed
        self._key = mixed(seed + 0x632BE5AB * (stream + 1))
        self._drawn = 0

    def uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Draw numbers from `low` to `high`; (B, count)."""
        lane = torch.arange(self._drawn + 1, self._drawn + count + 1, device=self.seed.device)
        self._drawn += count
        bits = mixed(mixed(self._key[:, None] + lane * GOLDEN) ^ self._key[:, None])
        return low + (high - low) * ((bits >> 8).float() / float(1 << 24))

    def one(self, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Draw one number from `low` to `high`; (B,)."""
        return self.uniform(1, low, high)[:, 0]

    def chance(self, probability: float | torch.Tensor) -> torch.Tensor:
        """Say yes with a probability; (B,) bool."""
        return self.one() < probability

    def choice(self, weights: Sequence[float], count: int = 1) -> torch.Tensor:
        """Choose rows of a table by weight; (B, count) long."""
        edges = torch.tensor(weights, device=self.seed.device).cumsum(0)
        return torch.bucketize(self.uniform(count) * edges[-1], edges[:-1], right=True)
