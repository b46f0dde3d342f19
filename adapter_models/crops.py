"""Features of condition images that come with each call, such as the tiles a sampler cuts out of one."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .adapter import T2IAdapter
from .features import DEFAULT_CACHE_BYTES, AdapterFeatures, check_range


class Crops:
    """The features of one run's crops: computed once for equal pixels, oldest dropped first.

    Args:
        adapter: The adapter.
        max_bytes: Limit for all features together. They stay on the device that uses them.
    """

    def __init__(self, adapter: T2IAdapter, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.adapter = adapter
        self.max_bytes = max_bytes
        # A tiler passes the same tensor at each step; read its pixels once.
        self._fingerprints: Any = WeakIdKeyDictionary()
        self._features: OrderedDict[tuple[Any, ...], AdapterFeatures] = OrderedDict()

    def levels(
        self, pictures: Tensor, rows: Sequence[int], *, device: torch.device, dtype: torch.dtype
    ) -> list[Tensor]:
        """Return the features of the chosen pictures.

        Args:
            pictures: (N, C, H, W) in [0, 1], of the size of the generated picture.
            rows: Index of the picture that each row shows.
            device: Where to return the features.
            dtype: Precision of the diffusion model.

        Returns:
            Per level, fine to coarse, (rows, C, h, w); (1, C, h, w) if all rows show the same picture.
        """
        names = self._names(pictures)
        keys = [(names[row], tuple(pictures.shape[1:]), device, dtype) for row in rows]
        for key, row in zip(keys, rows, strict=True):
            if key not in self._features:
                self._features[key] = self._compute(pictures[row : row + 1], device, dtype)
        for key in keys:
            self._features.move_to_end(key)
        shown = [self._features[key] for key in (keys if len(set(keys)) > 1 else keys[:1])]
        self._bound(len(set(keys)))
        pairs = zip(*(features.levels for features in shown), strict=True)
        return [torch.cat(level) if len(level) > 1 else level[0] for level in pairs]

    def _names(self, pictures: Tensor) -> list[bytes]:
        names: list[bytes] | None = self._fingerprints.get(pictures)
        if names is None:
            pixels = pictures.detach().contiguous().cpu().view(torch.uint8).numpy()
            names = [hashlib.blake2b(picture, digest_size=16).digest() for picture in pixels]
            self._fingerprints[pictures] = names
        return names

    def _compute(self, picture: Tensor, device: torch.device, dtype: torch.dtype) -> AdapterFeatures:
        # One at a time: in a batch, rounding would make a tile depend on the others.
        height, width = picture.shape[-2:]
        features = self.adapter.compute(picture, (height, width), "stretch", device=device, dtype=dtype)
        check_range(self.adapter.info.name, features, dtype)
        return features

    def _bound(self, wanted: int) -> None:
        """Drop the oldest entries, except those just requested."""
        total = sum(features.nbytes for features in self._features.values())
        while total > self.max_bytes and len(self._features) > wanted:
            total -= self._features.popitem(last=False)[1].nbytes
