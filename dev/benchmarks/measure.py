"""Measure variants by turns, and estimate the uncertainty of ratios."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Summary:
    """Summary of the samples of one quantity.

    Attributes:
        median: Median.
        low: First quartile.
        high: Third quartile.
        bottom: Lower end of the 95 % confidence interval of the median.
        top: Upper end of that interval.
        count: Number of samples.
    """

    median: float
    low: float
    high: float
    bottom: float
    top: float
    count: int

    @property
    def sure(self) -> float:
        """Half the width of the median's confidence interval."""
        return (self.top - self.bottom) / 2


def summarise(values: Sequence[float]) -> Summary:
    """Return the median of samples with its spread.

    The interval of the median depends only on the order of the samples (binomial), so outliers from a busy machine do
    not widen it.
    """
    ordered = sorted(values)
    count = len(ordered)
    if count < 2:
        only = ordered[0]
        return Summary(only, only, only, -math.inf, math.inf, 1)
    low, _, high = statistics.quantiles(ordered, n=4, method="inclusive")
    edge = (count - 1.96 * math.sqrt(count)) / 2
    # Fewer than six figures can't give a 95 % interval.
    bottom, top = (ordered[math.floor(edge)], ordered[-1 - math.floor(edge)]) if count >= 6 else (-math.inf, math.inf)
    return Summary(statistics.median(ordered), low, high, bottom, top, count)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Divide samples of the same round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def synchronise(device: torch.device) -> None:
    """Wait until the GPU has finished; does nothing on the CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that some work takes, including work on the device."""
    synchronise(device)
    started = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - started


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch and OpenCV to one thread in this block: libraries distribute work differently."""
    import cv2

    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


@dataclass(frozen=True)
class Patience:
    """When to stop measuring.

    Attributes:
        rounds: Minimum number of rounds.
        most: Maximum number of rounds.
        seconds: No new round starts after this time.
        precision: Stop when half of the 95 % interval of every ratio's median is below this.
    """

    rounds: int
    most: int
    seconds: float
    precision: float = 0.0


def interleave(
    turns: Mapping[str, Callable[[], float]], patience: Patience, pairs: Sequence[tuple[str, str]] = ()
) -> dict[str, list[float]]:
    """Measure variants by turns, so that a slow minute of the machine affects all of them.

    Args:
        turns: Functions that measure each variant once and return seconds.
        patience: When to stop.
        pairs: Ratios (numerator, denominator) whose precision decides when to stop.

    Returns:
        Seconds of each variant, one per round.
    """
    names = list(turns)
    found: dict[str, list[float]] = {name: [] for name in names}
    started = time.monotonic()
    for number in range(patience.most):
        shift = number % len(names)
        order = names[shift:] + names[:shift]
        # Reverse every other round, so that no variant always follows the same one.
        for name in order if number % 2 == 0 else reversed(order):
            found[name].append(turns[name]())
        if number + 1 < patience.rounds:
            continue
        known = [summarise(ratios(found[above], found[below])).sure for above, below in pairs]
        if time.monotonic() - started > patience.seconds or (known and max(known) <= patience.precision):
            break
    return found
