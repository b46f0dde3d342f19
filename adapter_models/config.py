"""The shape of an adapter network, and the layers that it is built from."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

from torch import nn

from ..common.weights import LayerOperations

Kind = Literal["full", "light"]
DEFAULT_OPERATIONS: LayerOperations = SimpleNamespace(Conv2d=nn.Conv2d, Linear=nn.Linear, LayerNorm=nn.LayerNorm)


@dataclass(frozen=True)
class AdapterConfig:
    """The shape of an adapter network.

    Attributes:
        kind: ``full`` (TencentARC ``Adapter``, ``Adapter_XL``) or ``light`` (``Adapter_light``).
        image_channels: Channels of the condition image: 1 or 3 in all published files.
        unshuffle: Factor of the pixel unshuffle, in pixels: 8 for SD1.x and SD2.x, 16 for SDXL.
        channels: Width of each level, fine to coarse.
        down_levels: The levels that begin by halving the size: (1, 2, 3) for SD, (2,) for SDXL.
        num_res_blocks: Residual blocks in each level.
        inner_channels: Light only: width inside each level (channels / 4 in the published colour adapter).
        kernel_size: Full only: kernel of ``in_conv``, ``block2`` and ``skep``: 1 in all published files, or 3.
        identity_skip: Full only: the skip is the input itself (``sk=True``), not a convolution of it (``skep``).
        conv_down: Full only: downsample by a strided convolution instead of averaging.
    """

    kind: Kind
    image_channels: int
    unshuffle: int
    channels: tuple[int, ...]
    down_levels: tuple[int, ...]
    num_res_blocks: int
    inner_channels: tuple[int, ...] = ()
    kernel_size: int = 1
    identity_skip: bool = True
    conv_down: bool = False

    @property
    def in_channels(self) -> int:
        """Channels after the pixel unshuffle: 64 and 192 for SD, 256 and 768 for SDXL."""
        return self.image_channels * self.unshuffle**2

    @property
    def strides(self) -> tuple[int, ...]:
        """Size of one feature cell in pixels, for each level: (8, 16, 32, 64) for SD, (16, 16, 32, 32) for SDXL."""
        return tuple(
            self.unshuffle * 2 ** sum(down <= level for down in self.down_levels) for level in range(len(self.channels))
        )
