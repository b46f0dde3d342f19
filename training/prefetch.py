"""Batches made by threads ahead of the step, so that the device does not wait for the disk."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from .in_memory_dataset import Draw, Examples
from .loop import Trainer
from .loss import Batch, Prompts

# Threads that make batches; a batch is made by one.
WORKERS = min(4, os.cpu_count() or 1)
# Batches made ahead: enough for a slow one, few enough for memory.
AHEAD = 4


class Prefetch:
    """Examples whose next batches are made while the current one is used; the batches are equal to the data's.

    Args:
        data: The examples; several threads draw batches from them at the same time.
        count: Number of batches in the run: none is made past the last.
        pin: Put batches into pinned memory, from which a GPU copies them while it computes.

    Attributes:
        waited: Seconds in which a batch was asked for and not ready.
    """

    def __init__(self, data: Examples, count: int, *, pin: bool = False) -> None:
        self.waited = 0.0
        self._data, self._count, self._pin = data, count, pin
        self._pool = ThreadPoolExecutor(WORKERS, "batches")
        self._coming: dict[tuple[Draw, int], Future[Batch]] = {}

    @property
    def empty(self) -> Prompts | None:
        """The empty prompt of the data."""
        return self._data.empty

    def fingerprint(self) -> str:
        """Return the data's digest."""
        return self._data.fingerprint()

    def batch(self, draw: Draw, number: int) -> Batch:
        """Return a share of a batch, and have the next ones made.

        Args:
            draw: How batches are drawn.
            number: Index of the batch in the run, from 0.
        """
        began = time.perf_counter()
        wanted = [(draw, one) for one in range(number, min(number + AHEAD + 1, max(self._count, number + 1)))]
        self._coming = {key: self._coming.get(key) or self._pool.submit(self._make, *key) for key in wanted}
        batch = self._coming.pop((draw, number)).result()
        self.waited += time.perf_counter() - began
        return batch

    def _make(self, draw: Draw, number: int) -> Batch:
        batch = self._data.batch(draw, number)
        return batch.pinned() if self._pin else batch

    def close(self) -> None:
        """End the threads, after the batches that they are making."""
        self._coming.clear()
        self._pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def prefetching(trainer: Trainer) -> Iterator[Prefetch]:
    """Have threads make a trainer's batches ahead; end them afterwards."""
    data, settings = trainer.data, trainer.settings
    count = settings.steps * settings.gradient_accumulation
    ahead = trainer.data = Prefetch(data, count, pin=trainer.device.type == "cuda")
    try:
        yield ahead
    finally:
        trainer.data = data
        ahead.close()
