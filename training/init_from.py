"""Where a new adapter begins: with the weights of another one, which may see other channels."""

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
    """Return the weights of an adapter for a new one of the same shape.

    An adapter of gray pictures sees colours by their luma, and so does the new one at first: its features are the same
    for every picture. The other way round they are the same for gray pictures.

    Args:
        start: The adapter to begin with; left alone.
        config: The shape of the new one, whose colours are in the order RGB.

    Returns:
        Weights in float32, on the CPU, by the names of the new network.

    Raises:
        TrainingError: The two differ in more than the channels of the condition image.
    """
    own = start.network.config
    if replace(own, image_channels=config.image_channels) != config:
        raise TrainingError(
            "start_from",
            f"{start.info.name} ({_outline(own)})",
            f"an adapter like the new one ({_outline(config)})",
            "Choose the size that it has and a MODEL that it fits, or disconnect start_from.",
        )
    weights = {
        name: tensor.detach().to("cpu", torch.float32, copy=True) for name, tensor in start.network.state_dict().items()
    }
    first = next(name for name, tensor in weights.items() if tensor.ndim > 1 and tensor.shape[1] == own.in_channels)
    weights[first] = _channels_changed(weights[first], own.image_channels, config.image_channels, start.bgr)
    return weights


def _channels_changed(kernel: Tensor, have: int, want: int, bgr: bool) -> Tensor:
    """Rewrite a convolution (out, have · u², k, k) after a pixel unshuffle, which keeps each channel together."""
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
