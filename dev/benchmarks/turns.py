"""Sampling runs that advance by a few steps at a time, so that steps of several runs can take turns.

A step of SD1.5 takes seconds on a CPU. Runs one after the other would be minutes apart, in which the machine changes;
steps one after the other are neighbours.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

import torch

from .measure import synchronise
from .models import Job

# A run is ended from outside, so its schedule only has to be long enough.
STEPS = 1000
PATIENCE = 1800.0


class _EndedError(Exception):
    """Ends a sampling run through its callback."""


class SteppedRun:
    """A sampling run in a thread of its own, which only ever moves while :meth:`turn` waits for it.

    Args:
        job: what to sample.
        steps: how many steps a turn has.
    """

    def __init__(self, job: Job, steps: int) -> None:
        self.job, self.steps = job, steps
        self.device: torch.device = job.scale.device
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.ending = False
        self.seconds = 0.0
        self.started = 0.0
        self.made = 0
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> SteppedRun:
        # The first turn loads the models and computes the features: it is no measurement.
        self.thread.start()
        self.turn()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ending = True
        self.go.release()
        self.thread.join(PATIENCE)

    def turn(self) -> float:
        """Make some steps and return the seconds that one took."""
        self.go.release()
        if not self.done.acquire(timeout=PATIENCE):
            raise TimeoutError(f"step: got no step in {PATIENCE:.0f} s; expected one.")
        if self.error is not None:
            raise self.error
        return self.seconds / self.steps

    def _run(self) -> None:
        self.go.acquire()
        try:
            self.job.sample(STEPS, self._after_step)
            raise RuntimeError(f"step: got to the end of {STEPS} steps; expected to be ended before.")
        except _EndedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again where the turn is waited for
            self.error = error
            self.done.release()

    def _after_step(self, *_: Any) -> None:
        self.made += 1
        # The callback comes in the middle of a step, always at the same place, so that turns are whole steps.
        if self.made > 1 and (self.made - 1) % self.steps:
            return
        synchronise(self.device)
        self.seconds = time.perf_counter() - self.started
        self.done.release()
        self.go.acquire()
        if self.ending:
            raise _EndedError
        self.started = time.perf_counter()
