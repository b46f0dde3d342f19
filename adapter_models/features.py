"""The feature maps of a condition image, and the cache that keeps them between runs."""

from __future__ import annotations

import functools
import math
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .errors import AdapterError

DEFAULT_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class AdapterFeatures:
    """The features of a batch of condition images.

    Attributes:
        levels: One (N, C, h, w) per level, fine to coarse; N condition images.
        strides: Size of a cell of each level in pixels.
        content: Fingerprint of the condition images; see :func:`..common.fingerprints.fingerprint`.
    """

    levels: tuple[Tensor, ...]
    strides: tuple[int, ...]
    content: bytes = b""

    @property
    def nbytes(self) -> int:
        """Size of all levels in bytes."""
        return sum(level.nbytes for level in self.levels)

    def to(self, device: torch.device) -> AdapterFeatures:
        """Return the features on a device; the same object if they are there already."""
        if all(level.device == device for level in self.levels):
            return self
        return replace(self, levels=tuple(level.to(device) for level in self.levels))


def crop_level(level: Tensor, stride: int, area: tuple[int, int, int, int]) -> Tensor:
    """Cut the part of a feature map that lies under an area of the picture.

    An area that begins between two cells gets linearly interpolated values.

    Args:
        level: (N, C, h, w).
        stride: Size of a cell in pixels.
        area: Height, width, top and left in pixels.

    Returns:
        (N, C, ceil(height / stride), ceil(width / stride)).
    """
    height, width, top, left = area
    level = _crop_axis(level, 2, top / stride, math.ceil(height / stride))
    return _crop_axis(level, 3, left / stride, math.ceil(width / stride))


def _crop_axis(level: Tensor, axis: int, start: float, count: int) -> Tensor:
    first = math.floor(start)
    between = start - first
    last = level.shape[axis] - 1
    cells = torch.arange(first, first + count, device=level.device)
    near = level.index_select(axis, cells.clamp(max=last))
    if between == 0:
        return near
    return near.lerp(level.index_select(axis, (cells + 1).clamp(max=last)), between)


def check_range(where: str, features: AdapterFeatures, dtype: torch.dtype) -> None:
    """Refuse features that are finite here and infinite in the diffusion model's precision.

    Args:
        where: The adapter, for messages.
        features: As computed, in the adapter's precision.
        dtype: That of the diffusion model, in which they are added.

    Raises:
        AdapterError: A number would become infinite.
    """
    largest = torch.finfo(dtype).max
    if any(torch.finfo(level.dtype).max > largest and level.abs().amax() > largest for level in features.levels):
        raise AdapterError(
            where,
            f"features beyond {largest:.0f}, which the diffusion model's {dtype} can't hold",
            "smaller ones",
            "Start ComfyUI with --bf16-unet or --fp32-unet, or use another file.",
            says="The adapter's features are too large for the model's precision.",
        )


class FeatureCache:
    """Features, keyed by the picture they were computed from; the oldest are dropped first.

    Keys are weak references: an entry is removed when its picture is garbage-collected. An entry is valid only while
    the picture's numbers are those it was computed from, because a program may write into a picture between runs.

    Args:
        max_bytes: Limit for all entries together.
        offload_device: Where entries are kept between runs.
    """

    def __init__(self, offload_device: torch.device, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.max_bytes = max_bytes
        self.offload_device = offload_device
        self._entries: OrderedDict[tuple[int, Hashable], tuple[weakref.ref[Tensor], AdapterFeatures]] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def nbytes(self) -> int:
        """Size of all entries in bytes."""
        with self._lock:
            # Iterate over a copy: garbage collection of a picture removes its entry meanwhile.
            return sum(features.nbytes for _, features in list(self._entries.values()))

    def get(self, picture: Tensor, key: Hashable, content: bytes = b"") -> AdapterFeatures | None:
        """Return the features of a picture with this content and key, on whichever device holds them, or None."""
        with self._lock:
            reference, features = self._entries.get((id(picture), key), (None, None))
            if features is None or reference is None or reference() is not picture:
                return None
            return features if features.content == content else None

    def put(self, picture: Tensor, key: Hashable, features: AdapterFeatures) -> None:
        """Store features on the offload device, unless they alone exceed the limit."""
        if features.nbytes > self.max_bytes:
            return
        entry = (id(picture), key)
        with self._lock:
            self._entries.pop(entry, None)
            reference = weakref.ref(picture, functools.partial(_drop, weakref.ref(self), entry))
            self._entries[entry] = (reference, features.to(self.offload_device))
            while self.nbytes > self.max_bytes:
                self._entries.popitem(last=False)

    def drop(self, entry: tuple[int, Hashable]) -> None:
        """Remove one entry if present."""
        with self._lock:
            self._entries.pop(entry, None)


def _drop(cache: weakref.ref[FeatureCache], entry: tuple[int, Hashable], _: object) -> None:
    # Reference the cache weakly: a picture must not keep an adapter's features alive.
    alive = cache()
    if alive is not None:
        alive.drop(entry)
