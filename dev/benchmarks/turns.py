"""Sampling runs that advance by a few steps at a time, so that steps of several runs can take turns.

A step of SD1.5 takes seconds on a CPU. Whole runs would be minutes apart, during which the machine's speed changes;
alternating steps are close together.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

import torch

from .measure import synchronise
from .models import Job

# A run is stopped from outside, so its schedule only has to be long enough.
STEPS = 1000
PATIENCE = 1800.0


class _EndedError(Exception):
    """Raised in a sampling run's callback to end it."""


class SteppedRun:
    """A sampling run in its own thread, which advances only while :meth:`turn` waits for it.

    Args:
        job: What to sample.
        steps: Steps per turn.
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
        # The first turn loads the models and computes the features, so it is not measured.
        self.thread.start()
        self.turn()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ending = True
        self.go.release()
        self.thread.join(PATIENCE)

    def turn(self) -> float:
        """Make some steps and return the seconds per step."""
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
            raise RuntimeError(f"step: got to the end of {STEPS} steps; expected to be stopped earlier.")
        except _EndedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in turn()
            self.error = error
            self.done.release()

    def _after_step(self, *_: Any) -> None:
        self.made += 1
        # The callback is always called at the same place in a step, so turns are whole steps.
        if self.made > 1 and (self.made - 1) % self.steps:
            return
        synchronise(self.device)
        self.seconds = time.perf_counter() - self.started
        self.done.release()
        self.go.acquire()
        if self.ending:
            raise _EndedError
        self.started = time.perf_counter()
