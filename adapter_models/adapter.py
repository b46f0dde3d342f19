"""A loaded adapter: its network, the facts about its file, and the features it has computed."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..common.fingerprints import fingerprint
from .errors import CorruptFileError
from .features import AdapterFeatures, FeatureCache
from .hint import Fit, pad_to_cells, prepare_hint
from .info import AdapterInfo
from .networks import Adapter

# Pictures per forward of the network: bounds memory, and a cancel takes effect between batches.
PICTURES_AT_ONCE = 8
# Feature maps of the finest level alive at once during a forward, including the convolution's workspace.
LIVE_TENSORS = 8


@dataclass(eq=False)
class T2IAdapter:
    """An adapter ready for use; one instance serves any number of models, runs and threads.

    Attributes:
        network: The network. Its weights keep the file's precision; layers cast as they compute.
        info: Facts about the file.
        cache: Features by condition image.
        bgr: Swap red and blue of the condition image.
        dtype: Precision to compute in, or None for that of the diffusion model.
        patcher: The host's handle for managing the network's memory; this library never reads it.
    """

    network: Adapter
    info: AdapterInfo
    cache: FeatureCache
    bgr: bool = False
    dtype: torch.dtype | None = None
    patcher: object = None

    @property
    def name(self) -> str:
        """How the user names its file."""
        return self.info.name

    @torch.no_grad()
    def features(
        self,
        hint: Tensor,
        count: int,
        size: tuple[int, int],
        fit: Fit,
        *,
        device: torch.device,
        dtype: torch.dtype,
        source: Tensor | None = None,
    ) -> AdapterFeatures:
        """Return the features of condition images, from the cache or computed now.

        Args:
            hint: (N, C, H, W) in [0, 1].
            count: Use the first ``count`` pictures of ``hint``.
            size: Height and width in pixels of the generated picture.
            fit: See :func:`.hint.prepare_hint`.
            device: Where to compute and return the result.
            dtype: Precision of the diffusion model; the adapter's own setting takes precedence.
            source: The tensor that ``hint`` is a view of; cached features live as long as it does. Default: ``hint``.

        Returns:
            Features of ``min(N, count)`` pictures.

        Raises:
            CorruptFileError: The network gives NaN or infinite features.
        """
        key = self._key(hint, count, size, fit, self.dtype or dtype)
        source = hint if source is None else source
        # Take the fingerprint before computing: a write during the computation must not match it.
        content = fingerprint(hint[:count])
        found = self.cache.get(source, key, content)
        if found is not None:
            return found.to(device)
        features = replace(self.compute(hint[:count], size, fit, device=device, dtype=dtype), content=content)
        self.cache.put(source, key, features)
        return features

    @torch.no_grad()
    def compute(
        self, hint: Tensor, size: tuple[int, int], fit: Fit, *, device: torch.device, dtype: torch.dtype
    ) -> AdapterFeatures:
        """Compute the features of condition images without the cache; see :meth:`features`."""
        dtype = self.dtype or dtype
        parts = [self._forward(part, size, fit, device, dtype) for part in hint.split(PICTURES_AT_ONCE)]
        levels = tuple(torch.cat(level) if len(level) > 1 else level[0] for level in zip(*parts, strict=True))
        self._check_finite(levels, dtype)
        return AdapterFeatures(levels, self.network.config.strides)

    def has_features(
        self,
        hint: Tensor,
        count: int,
        size: tuple[int, int],
        fit: Fit,
        *,
        dtype: torch.dtype,
        source: Tensor | None = None,
    ) -> bool:
        """Tell whether the cache holds the result of :meth:`features` for these arguments."""
        key = self._key(hint, count, size, fit, self.dtype or dtype)
        return self.cache.get(hint if source is None else source, key, fingerprint(hint[:count])) is not None

    def forward_bytes(self, count: int, size: tuple[int, int], dtype: torch.dtype) -> int:
        """Estimate the bytes needed to compute the features, excluding the weights.

        The finest level dominates: its width times the number of cells, for input, output and intermediates.
        """
        config = self.network.config
        cells = (size[0] // config.unshuffle + 1) * (size[1] // config.unshuffle + 1)
        width = max(config.channels[0], config.in_channels)
        return LIVE_TENSORS * min(count, PICTURES_AT_ONCE) * width * cells * (self.dtype or dtype).itemsize

    def _key(self, hint: Tensor, count: int, size: tuple[int, int], fit: Fit, dtype: torch.dtype) -> Hashable:
        return tuple(size), fit, self.bgr, min(count, hint.shape[0]), dtype

    def _check_finite(self, levels: tuple[Tensor, ...], dtype: torch.dtype) -> None:
        if not all(torch.isfinite(level).all() for level in levels):
            raise CorruptFileError(
                self.name,
                f"NaN or infinite features in {dtype}",
                "finite ones",
                "Compute in float32, or use another file.",
                says=f"This adapter gives no usable features in {str(dtype).removeprefix('torch.')}.",
                topic="precision",
            )

    def _forward(
        self, hint: Tensor, size: tuple[int, int], fit: Fit, device: torch.device, dtype: torch.dtype
    ) -> list[Tensor]:
        config = self.network.config
        prepared = prepare_hint(hint.to(device, torch.float32), size, fit, config.image_channels, bgr=self.bgr)
        padded = pad_to_cells(prepared, config.unshuffle).to(dtype)
        # Rounding in convolutions depends on the memory layout; one fixed layout gives equal pixels equal features.
        return self.network(padded.clone(memory_format=torch.channels_last))  # type: ignore[no-any-return]
