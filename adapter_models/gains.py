"""What a fuser says of adapters that act together, and the cache that keeps it between runs."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Gains that a fuser keeps between runs: a few thousand numbers for each adapter and picture.
KEPT_GAINS = 16


@dataclass(frozen=True)
class Gains:
    """What a fuser says of adapters that act together.

    Attributes:
        maps: For each adapter one (B, C, 1, 1) per level: what its features are multiplied by.
        style: (B, n, width): the style's tokens as they go into the prompt, or None. B is 1 or the pictures.
    """

    maps: tuple[tuple[Tensor, ...], ...]
    style: Tensor | None

    def to(self, device: torch.device) -> Gains:
        """Return the gains on a device."""
        maps = tuple(tuple(level.to(device) for level in levels) for levels in self.maps)
        return Gains(maps, None if self.style is None else self.style.to(device))


class GainCache:
    """The last gains by the objects that they were computed from. It holds none of these alive.

    Args:
        most: Entries kept; the one that was used longest ago goes first.
    """

    def __init__(self, most: int = KEPT_GAINS) -> None:
        self.most = most
        self._entries: OrderedDict[Hashable, tuple[tuple[weakref.ref[object], ...], Gains]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sources: Sequence[object], key: Hashable) -> Gains | None:
        """Return the gains of the very same objects under a key, or None."""
        entry = (tuple(map(id, sources)), key)
        with self._lock:
            references, gains = self._entries.get(entry, ((), None))
            # Another object may have got the place in memory, and so the id, of one that is gone.
            if gains is None or any(ref() is not source for ref, source in zip(references, sources, strict=True)):
                return None
            self._entries.move_to_end(entry)
            return gains

    def put(self, sources: Sequence[object], key: Hashable, gains: Gains) -> None:
        """Keep gains, in main memory."""
        with self._lock:
            entry = (tuple(map(id, sources)), key)
            self._entries[entry] = (tuple(map(weakref.ref, sources)), gains.to(torch.device("cpu")))
            while len(self._entries) > self.most:
                self._entries.popitem(last=False)
