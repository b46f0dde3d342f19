"""An adapter's features outside of sampling, and heat maps of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from ...adapter_models.adapter import T2IAdapter
from . import attach

# The strongest response of a nearly empty image.
FAINT = 0.25
# Least height of a label in pixels.
LABEL = 14


def compute_features(adapter: T2IAdapter, image: Tensor, size: tuple[int, int]) -> list[Tensor]:
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


def responses(levels: Sequence[Tensor], empty: Sequence[Tensor]) -> list[Tensor]:
    """Measure how far an image moves an adapter's features from those of an empty image.

    An adapter has features for a black image too, so that their own size says nothing about the image.

    Args:
        levels: One (B, C, h, w) per level; only the first of each batch is measured.
        empty: The features of a black image, of the same shapes.

    Returns:
        For each level (1, 1, h, w): the root mean square of the difference over its channels, as a part of that of the
        level's features. So levels are comparable, whose features may differ a thousandfold in size.
    """
    moved = []
    for level, ground in zip(levels, empty, strict=True):
        size = max(_root_mean_square(level[:1]), _root_mean_square(ground[:1]), torch.finfo(torch.float32).tiny)
        moved.append((level[:1] - ground[:1]).square().mean(1, keepdim=True).sqrt() / size)
    return moved


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def heat_maps(moved: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Render responses as heat maps, all on one scale.

    Args:
        moved: One (1, 1, h, w) per level, from :func:`responses`.
        size: Height and width of the pictures in pixels.

    Returns:
        (levels, H, W, 3) in [0, 1], from black through red and yellow to white.
    """
    most = max(FAINT, *(float(level.max()) for level in moved))
    pictures = []
    for level in moved:
        heat = functional.interpolate(level / most, size=size, mode="nearest-exact")[0, 0]
        pictures.append(torch.stack([(3 * heat - start).clamp(0, 1) for start in range(3)], dim=-1))
    return torch.stack(pictures)


def label_maps(maps: Tensor, moved: Sequence[Tensor]) -> Tensor:
    """Write number and size of its level below each heat map.

    Args:
        maps: (levels, H, W, 3) in [0, 1].
        moved: The levels' responses (1, 1, h, w).

    Returns:
        (levels, H + a line, W, 3) in [0, 1].
    """
    width = maps.shape[2]
    line = max(LABEL, width // 20)
    labelled = []
    for number, (picture, level) in enumerate(zip(maps, moved, strict=True), start=1):
        text = f"level {number} of {len(moved)}: {level.shape[-1]}×{level.shape[-2]} cells"
        canvas = Image.new("RGB", (width, line), (40, 40, 40))
        ImageDraw.Draw(canvas).text((line // 4, line // 8), text, (255, 255, 255), ImageFont.load_default(line * 0.7))
        caption = torch.from_numpy(np.asarray(canvas).copy()).to(picture.dtype) / 255
        labelled.append(torch.cat((picture, caption)))
    return torch.stack(labelled)
