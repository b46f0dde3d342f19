"""Where a sampling run stands, told from noise levels."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...adapter_models.weights import Moment

# Halvings when a noise level is looked up in the schedule: a precision of a 16 000th of it.
LOOKUPS = 14
# Levels that differ by less than this share are one, rounded differently.
SAME_LEVEL = 1e-4


@dataclass(eq=False)
class Clock:
    """Tells from a noise level where a run stands.

    Attributes:
        sampling: ComfyUI's model sampling, asked at run time since a later node may have replaced it.
        sigmas: The noise levels of the steps, falling, rising (unsampling) or both; the last is where the run ends.
    """

    sampling: Any
    sigmas: Sequence[float]
    _percents: dict[float, float] = field(default_factory=dict)
    _step: int = 0

    def moment(self, sigma: float) -> Moment:
        """Return the place of a noise level in the schedule, and that of its step in the run."""
        if sigma not in self._percents:
            self._percents[sigma] = self._percent(sigma)
        steps = max(1, len(self.sigmas) - 1)
        self._step = self._step_of(sigma)
        return Moment(self._percents[sigma], self._step / steps)

    def _percent(self, sigma: float) -> float:
        # Schedules differ by model, and only the way from percent to noise is public: go back by halving.
        return bisect.bisect_left(range(2**LOOKUPS), -sigma, key=self._falling_to_rising) / 2**LOOKUPS

    def _falling_to_rising(self, place: int) -> float:
        return -float(self.sampling.percent_to_sigma(place / 2**LOOKUPS))

    def _step_of(self, sigma: float) -> int:
        # A second-order sampler also calls between two steps: such a call belongs to the step that it is part of.
        around = [step for step, ends in enumerate(itertools.pairwise(self.sigmas)) if _within(sigma, *ends)]
        if around:
            # A run that goes to and fro meets a level again in a later step: it goes on from where it is.
            return next((step for step in around if step >= self._step), around[-1])
        if len(self.sigmas) < 2 or abs(sigma - self.sigmas[0]) <= abs(sigma - self.sigmas[-1]):
            return 0
        return len(self.sigmas) - 2


def _within(sigma: float, begin: float, end: float) -> bool:
    """Tell whether a noise level is that of a step's beginning, or between it and the end, with room for rounding."""
    if begin >= end:
        return end < sigma * (1 - SAME_LEVEL) <= begin
    return begin <= sigma * (1 + SAME_LEVEL) < end
