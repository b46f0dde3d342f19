"""The gains a fuser computes for combined adapters, and the cache that keeps them between runs."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Entries a fuser keeps between runs; each has a few thousand numbers per adapter and picture.
KEPT_GAINS = 16


@dataclass(frozen=True)
class Gains:
    """The gains a fuser computes for combined adapters.

    Attributes:
        maps: Factors of each adapter's features: one (B, C, 1, 1) per level.
        style: The style's tokens for the prompt, (B, n, width), or None. B is 1 or the batch size.
    """

    maps: tuple[tuple[Tensor, ...], ...]
    style: Tensor | None

    def to(self, device: torch.device) -> Gains:
        """Return the gains on a device."""
        maps = tuple(tuple(level.to(device) for level in levels) for levels in self.maps)
        return Gains(maps, None if self.style is None else self.style.to(device))


class GainCache:
    """The latest gains, keyed by the objects they were computed from, without keeping those alive.

    Args:
        most: Largest number of entries; the least recently used is dropped first.
    """

    def __init__(self, most: int = KEPT_GAINS) -> None:
        self.most = most
        self._entries: OrderedDict[Hashable, tuple[tuple[weakref.ref[object], ...], Gains]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sources: Sequence[object], key: Hashable) -> Gains | None:
        """Return the gains of exactly these objects under a key, or None."""
        entry = (tuple(map(id, sources)), key)
        with self._lock:
            references, gains = self._entries.get(entry, ((), None))
            # A new object may reuse the memory, and so the id, of one that is gone.
            if gains is None or any(ref() is not source for ref, source in zip(references, sources, strict=True)):
                return None
            self._entries.move_to_end(entry)
            return gains

    def put(self, sources: Sequence[object], key: Hashable, gains: Gains) -> None:
        """Store gains in main memory."""
        with self._lock:
            entry = (tuple(map(id, sources)), key)
            self._entries[entry] = (tuple(map(weakref.ref, sources)), gains.to(torch.device("cpu")))
            while len(self._entries) > self.most:
                self._entries.popitem(last=False)
