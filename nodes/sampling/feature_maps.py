"""An adapter's features outside of sampling, and heat maps of them."""

from __future__ import annotations

import torch
from torch.nn import functional

from ...adapter_models.adapter import T2IAdapter
from . import attach


def compute_features(adapter: T2IAdapter, image: torch.Tensor, size: tuple[int, int]) -> list[torch.Tensor]:
    """Compute an adapter's features outside of sampling.

    Args:
        adapter: The adapter; ComfyUI loads it.
        image: Condition images (B, C, H, W) in [0, 1].
        size: Height and width of the picture in pixels.

    Returns:
        One (B, C, h, w) per level in CPU memory, fine to coarse.
    """
    attach.load_network(adapter, adapter.forward_bytes(image.shape[0], size, torch.float32))
    device = adapter.patcher.load_device  # type: ignore[attr-defined]
    features = adapter.features(image, image.shape[0], size, "crop", device=device, dtype=torch.float32)
    return [level.float().cpu() for level in features.levels]


def heat_maps(levels: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
    """Render feature maps as heat maps.

    Args:
        levels: One (B, C, h, w) per level; only the first of each batch is rendered.
        size: Height and width of the pictures in pixels.

    Returns:
        (levels, H, W, 3) in [0, 1]: root mean square over channels, from black through red and yellow to white.
    """
    pictures = []
    for level in levels:
        energy = level[:1].float().square().mean(1, keepdim=True).sqrt()
        energy = energy / energy.max().clamp(min=torch.finfo(energy.dtype).tiny)
        energy = functional.interpolate(energy, size=size, mode="nearest-exact")[0, 0]
        pictures.append(torch.stack([(3 * energy - start).clamp(0, 1) for start in range(3)], dim=-1))
    return torch.stack(pictures)
