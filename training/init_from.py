"""Initialise a new adapter from another one, which may take another number of image channels."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.config import AdapterConfig
from ..common.images import LUMA
from .errors import TrainingError

GRAY, RGB = 1, 3


def inherited_weights(start: T2IAdapter, config: AdapterConfig) -> dict[str, Tensor]:
    """Return an adapter's weights for a new adapter of the same shape.

    From gray to RGB, the new adapter sees colours by their luma, and its features are equal for every picture. From RGB
    to gray, they are equal for gray pictures.

    Args:
        start: The adapter to start from; not changed.
        config: The new adapter's config; it takes RGB.

    Returns:
        The weights by name, in float32, on the CPU.

    Raises:
        TrainingError: The two differ in more than the image channels.
    """
    own = start.network.config
    if replace(own, image_channels=config.image_channels) != config:
        raise TrainingError(
            "start_from",
            f"{start.info.name} ({_outline(own)})",
            f"an adapter like the new one ({_outline(config)})",
            "Choose its size and a model that it fits, or omit start_from.",
            says="The new adapter can't start from an adapter of another shape.",
        )
    weights = {
        name: tensor.detach().to("cpu", torch.float32, copy=True) for name, tensor in start.network.state_dict().items()
    }
    first = next(name for name, tensor in weights.items() if tensor.ndim > 1 and tensor.shape[1] == own.in_channels)
    weights[first] = _channels_changed(weights[first], own.image_channels, config.image_channels, start.bgr)
    return weights


def _channels_changed(kernel: Tensor, have: int, want: int, bgr: bool) -> Tensor:
    """Change the input channels of a convolution (out, have · u², k, k) that follows a pixel unshuffle."""
    by_channel: Tensor = kernel.unflatten(1, (have, -1))
    if have == RGB and bgr:
        by_channel = by_channel.flip(1)
    if (have, want) == (GRAY, RGB):
        by_channel = by_channel * torch.tensor(LUMA).view(1, RGB, 1, 1, 1)
    elif (have, want) == (RGB, GRAY):
        by_channel = by_channel.sum(1, keepdim=True)
    return by_channel.flatten(1, 2)


def _outline(config: AdapterConfig) -> str:
    widths = "-".join(str(width) for width in config.inner_channels or config.channels)
    blocks = f"{config.num_res_blocks} blocks a level"
    return f"{config.kind}, {widths} channels, {blocks}, kernel {config.kernel_size}, unshuffle {config.unshuffle}"
