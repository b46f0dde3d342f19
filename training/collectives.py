"""Exchange tensors and facts between processes, in few large pieces and within a time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from .errors import LostProcessError

# Bytes reduced together: few messages, and a copy that is small beside the gradients of the largest adapters.
REDUCED_TOGETHER = 128 << 20
_T = TypeVar("_T")


def pieces(tensors: Sequence[Tensor], largest: int = REDUCED_TOGETHER) -> Iterator[list[int]]:
    """Group tensors of one type that are reduced together.

    Args:
        tensors: The tensors, on one device.
        largest: Bytes of a group; a larger tensor is a group of its own.

    Yields:
        The indices of each group, in order.
    """
    group: list[int] = []
    size = 0
    for index, tensor in enumerate(tensors):
        if group and (size + tensor.nbytes > largest or tensor.dtype != tensors[group[0]].dtype):
            yield group
            group, size = [], 0
        group.append(index)
        size += tensor.nbytes
    if group:
        yield group


def mean_in_pieces(tensors: Sequence[Tensor], total: Callable[[Tensor], object], count: int) -> list[Tensor]:
    """Return the means of tensors over all processes.

    Args:
        tensors: The tensors, not changed.
        total: Replaces the numbers of a tensor by their sums over all processes.
        count: Number of processes.
    """
    means: list[Tensor] = []
    for group in pieces(tensors):
        flat = torch.cat([tensors[index].reshape(-1) for index in group])
        total(flat)
        flat /= count
        parts = flat.split([tensors[index].numel() for index in group])
        means += [part.view(tensors[index].shape) for part, index in zip(parts, group, strict=True)]
    return means


@dataclass(frozen=True)
class Connection:
    """The processes of a run, connected by torch.distributed.

    Attributes:
        count: Number of processes.
        patience: Seconds to wait for the others during training.
        training: The group with this time limit.
        barrier: Waits for all processes, as long as it takes.
    """

    count: int
    patience: float
    training: Any
    barrier: Callable[[], object]

    def mean(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return the means of tensors over all processes.

        Raises:
            LostProcessError: Another process has ended, or does not answer in time.
        """
        dist = torch.distributed
        return self._within(
            lambda: mean_in_pieces(tensors, lambda flat: dist.all_reduce(flat, group=self.training), self.count),
            self.patience,
        )

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in their order.

        Raises:
            LostProcessError: As :meth:`mean`.
        """
        values: list[Any] = [None] * self.count
        self._within(lambda: torch.distributed.all_gather_object(values, value, group=self.training), self.patience)
        return values

    def wait(self) -> None:
        """Wait until all processes get here.

        Raises:
            LostProcessError: Another process has ended.
        """
        self._within(self.barrier, math.inf)

    def _within(self, exchange: Callable[[], _T], limit: float) -> _T:
        began = time.monotonic()
        try:
            return exchange()
        except RuntimeError as error:  # of gloo, and DistBackendError of NCCL
            waited = time.monotonic() - began
            in_time = waited < limit * 0.9
            raise LostProcessError(
                "processes",
                f"a connection that broke ({_first_line(error)})" if in_time else f"no answer for {waited:.0f} s",
                "an answer from every process",
                "Read what the other processes say.",
                says=f"Another process of the run {'has ended' if in_time else 'does not answer'}.",
            ) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")
