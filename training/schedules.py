"""The table of learning-rate schedules, made of torch's own schedulers."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR


@dataclass(frozen=True)
class LrSchedule:
    """A course of the learning rate after the warm-up.

    Attributes:
        name: Name that the user chooses.
        make: (optimizer, steps after the warm-up) -> torch's scheduler.
        ends: Whether it depends on the run's number of steps, which then can't change.
    """

    name: str
    make: Callable[[Optimizer, int], LRScheduler]
    ends: bool


LR_SCHEDULES = (
    LrSchedule("constant", lambda optimizer, steps: ConstantLR(optimizer, 1.0), ends=False),
    LrSchedule("cosine", CosineAnnealingLR, ends=True),
    LrSchedule("linear", lambda optimizer, steps: LinearLR(optimizer, 1.0, 0.0, steps), ends=True),
)


class LearningRate:
    """The learning rate of each step of a run.

    It follows from the step alone, so a state needs none of it: a resumed run makes up for the steps made.

    Args:
        optimizer: The optimizer, with the full learning rate.
        name: A name of :data:`LR_SCHEDULES`.
        warmup: Steps in which the rate rises to the full one.
        steps: Steps of the run.
    """

    def __init__(self, optimizer: Optimizer, name: str, warmup: int, steps: int) -> None:
        row = next(row for row in LR_SCHEDULES if row.name == name)
        self._scheduler: LRScheduler | None = None
        if not warmup and not row.ends:
            return
        with _quiet():
            # The first step has a rate above 0.
            rising = [LinearLR(optimizer, 1 / (warmup + 1), 1.0, warmup)] if warmup else []
            parts = [*rising, row.make(optimizer, steps - warmup)]
            self._scheduler = parts[0] if len(parts) == 1 else SequentialLR(optimizer, parts, [warmup])

    def begin(self, step: int) -> None:
        """Set the optimizer's learning rate for a step.

        Args:
            step: Number of steps made before this one; never smaller than in the call before.
        """
        if self._scheduler is None:
            return
        with _quiet():
            while self._scheduler.last_epoch < step:
                self._scheduler.step()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # torch warns unless the optimizer steps between two steps of a scheduler, and of its own call inside SequentialLR.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
