"""The place of a noise level in a sampling run."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...adapter_models.weights import Moment

# Halvings to look up a noise level in the schedule: a precision of 1/16384.
_HALVINGS = 14
# Levels that differ by less than this fraction are equal but for rounding.
_SAME_LEVEL = 1e-4


@dataclass(eq=False)
class Clock:
    """Find the place of a noise level in the schedule and in the steps of a run.

    Attributes:
        sampling: ComfyUI's model sampling, read at run time because a later node may replace it.
        sigmas: Noise levels of the steps, falling, rising (unsampling) or both; the run ends at the last.
    """

    sampling: Any
    sigmas: Sequence[float]
    _percents: dict[float, float] = field(default_factory=dict)
    _step: int = 0

    def moment(self, sigma: float) -> Moment:
        """Return the place of a noise level in the schedule, and of its step in the run."""
        if sigma not in self._percents:
            self._percents[sigma] = self._percent(sigma)
        steps = max(1, len(self.sigmas) - 1)
        self._step = self._step_of(sigma)
        return Moment(self._percents[sigma], self._step / steps)

    def _percent(self, sigma: float) -> float:
        # Models differ, and ComfyUI only maps percent to noise: invert it by halving.
        return bisect.bisect_left(range(2**_HALVINGS), -sigma, key=self._falling_to_rising) / 2**_HALVINGS

    def _falling_to_rising(self, place: int) -> float:
        return -float(self.sampling.percent_to_sigma(place / 2**_HALVINGS))

    def _step_of(self, sigma: float) -> int:
        # A second-order sampler also calls between two steps; such a call belongs to the step that contains it.
        around = [step for step, ends in enumerate(itertools.pairwise(self.sigmas)) if _within(sigma, *ends)]
        if around:
            # A run that goes back and forth meets a level again in a later step: search from the current step.
            return next((step for step in around if step >= self._step), around[-1])
        if len(self.sigmas) < 2 or abs(sigma - self.sigmas[0]) <= abs(sigma - self.sigmas[-1]):
            return 0
        return len(self.sigmas) - 2


def _within(sigma: float, begin: float, end: float) -> bool:
    """Tell whether a noise level lies in a step: at its beginning, or between it and its end, but for rounding."""
    if begin >= end:
        return end < sigma * (1 - _SAME_LEVEL) <= begin
    return begin <= sigma * (1 + _SAME_LEVEL) < end
