"""Adapters without a host: load one, compute the features of a hint, and the residuals to add to a UNet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .adapter import T2IAdapter
from .features import FeatureCache
from .hint import Fit, check_hint
from .loading import load_adapter_file
from .weights import LEVEL_COUNT, Weights

# Size of a latent cell in pixels, in every model that adapters exist for.
PIXELS_PER_CELL = 8


def load_adapter(
    path: str | Path,
    *,
    member: str | None = None,
    bgr: bool | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> T2IAdapter:
    """Load an adapter for use without a host.

    Args:
        path: A weights file or a diffusers folder, in any published layout.
        member: Which entry of a CoAdapter bundle.
        bgr: Swap red and blue of hints; None decides by the file (SDXL pose adapters were trained on swapped colours).
        device: Where to compute. ``adapter.network`` can be moved later.
        dtype: Precision to compute in, whatever that of the file.

    Returns:
        The adapter, ready for :func:`hint_features` and :func:`unet_residuals`.

    Raises:
        AdapterError: A subclass; the message says what the file is and what to do.
    """
    network, info = load_adapter_file(Path(path), member=member)
    network.to(device, dtype)
    return T2IAdapter(network, info, FeatureCache(torch.device(device)), info.bgr if bgr is None else bgr)


def hint_features(
    adapter: T2IAdapter, hint: Tensor, size: tuple[int, int] | None = None, *, fit: Fit = "crop"
) -> tuple[Tensor, ...]:
    """Compute the features of a hint on the network's device, in the network's precision.

    Args:
        adapter: From :func:`load_adapter`.
        hint: (B, C, H, W) in [0, 1], with 1 to 4 channels: gray, gray and alpha, RGB or RGBA. Alpha is dropped.
        size: Height and width in pixels of the picture to generate; the hint's own size by default.
        fit: How a hint of another size is fitted: ``crop``, ``stretch`` or ``pad``.

    Returns:
        One (B, channels, ceil(H / stride), ceil(W / stride)) per level, fine to coarse. The strides are
        ``adapter.network.config.strides``: (8, 16, 32, 64) for SD, (16, 16, 32, 32) for SDXL.

    Raises:
        HintError: The hint is not a picture.
        CorruptFileError: The network computes NaN or infinite features.
    """
    check_hint("hint", hint)
    weight = next(adapter.network.parameters())
    height, width = hint.shape[-2:] if size is None else size
    return adapter.compute(hint, (height, width), fit, device=weight.device, dtype=weight.dtype).levels


def unet_residuals(
    adapter: T2IAdapter,
    hint: Tensor,
    latent_size: tuple[int, int],
    strength: float = 1.0,
    *,
    level_weights: Sequence[float] = (1.0,) * LEVEL_COUNT,
    fit: Fit = "crop",
) -> tuple[Tensor, ...]:
    """Compute what to add to the encoder of a UNet, one tensor per level.

    In an SD UNet each level goes to the output of the last block of a resolution. In an SDXL UNet the first goes to
    the output of the first downsampling, the next two to the last blocks of the second and third resolution, and the
    last to the middle block.

    Args:
        adapter: From :func:`load_adapter`.
        hint: See :func:`hint_features`.
        latent_size: Height and width of the latent, in cells of 8 pixels.
        strength: Factor of all levels.
        level_weights: Factor of each level, fine to coarse; an adapter of three levels uses the first three.
        fit: See :func:`hint_features`.

    Returns:
        One (B, channels, h, w) per level, fine to coarse, of the same size as the UNet's feature map there.

    Raises:
        AdapterError: A factor is not a finite number, or as :func:`hint_features`.
    """
    factors = Weights(levels=tuple(strength * weight for weight in level_weights)).levels
    height, width = latent_size
    levels = hint_features(adapter, hint, (height * PIXELS_PER_CELL, width * PIXELS_PER_CELL), fit=fit)
    return tuple(level * factor for level, factor in zip(levels, factors, strict=False))


class AdapterModule(nn.Module):
    """An adapter as a torch module that maps a hint to its features, as diffusers' pipelines expect of an adapter.

    Args:
        adapter: From :func:`load_adapter`.
    """

    def __init__(self, adapter: T2IAdapter) -> None:
        super().__init__()
        self.network = adapter.network
        self.adapter = adapter

    @property
    def downscale_factor(self) -> int:
        """The multiple of pixels that picture sizes are rounded down to: the coarsest level's stride."""
        return self.network.config.strides[-1]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.network.parameters()).dtype

    def forward(self, hint: Tensor) -> list[Tensor]:
        """Compute the features of a hint (B, C, H, W) in [0, 1]; see :func:`hint_features`."""
        return list(hint_features(self.adapter, hint))
