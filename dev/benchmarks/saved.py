"""Memory that autograd keeps for the backward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


class Kept:
    """The storages that autograd keeps, each counted once.

    Args:
        weights: Storages to exclude, since they exist anyway.
    """

    def __init__(self, weights: set[int]) -> None:
        self.sizes: dict[int, int] = {}
        self._weights = weights

    @property
    def nbytes(self) -> int:
        """Their size in bytes."""
        return sum(self.sizes.values())

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """Count a tensor."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights:
            self.sizes[storage._cdata] = storage.nbytes()
        return tensor


@contextlib.contextmanager
def saved_bytes(*networks: nn.Module) -> Iterator[Kept]:
    """Count the storages that one forward keeps.

    Args:
        networks: Networks whose weights are excluded.
    """
    kept = Kept({weight.untyped_storage()._cdata for net in networks for weight in net.parameters()})
    with torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda tensor: tensor):
        yield kept
