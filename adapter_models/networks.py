"""The adapter networks: a condition image in, four feature maps out, fine to coarse.

Every layer is built from an ``operations`` namespace. It defaults to ``torch.nn``; a host that streams weights passes
its own layers. Parameter names match TencentARC's published files, so a released state dict loads as is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..common.weights import LayerOperations
from .config import DEFAULT_OPERATIONS, AdapterConfig, Kind


class Downsample(nn.Module):
    """Halve the size, rounding up, so that odd sizes keep the phase of the UNet (as diffusers does).

    Args:
        channels: Width of the input and the output.
        conv: Use a strided convolution (key ``op``) instead of the average of 2×2 cells.
        operations: Namespace that the layers come from.
    """

    def __init__(self, channels: int, conv: bool, operations: LayerOperations) -> None:
        super().__init__()
        self.op = operations.Conv2d(channels, channels, 3, stride=2, padding=1) if conv else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, ceil(H / 2), ceil(W / 2))."""
        if self.op is not None:
            return self.op(x)  # type: ignore[no-any-return]
        return functional.avg_pool2d(x, kernel_size=2, stride=2, ceil_mode=True)


class ResnetBlock(nn.Module):
    """One residual block of a full adapter, with optional parts for the first block of a level.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        down: Halve the size first.
        config: Kernel size, kind of residual and of down-sampling.
        operations: Namespace that the layers come from.
    """

    def __init__(
        self, in_channels: int, out_channels: int, down: bool, config: AdapterConfig, operations: LayerOperations
    ) -> None:
        super().__init__()
        kernel, padding = config.kernel_size, config.kernel_size // 2
        self.down_opt = Downsample(in_channels, config.conv_down, operations) if down else None
        widens = in_channels != out_channels or not config.identity_skip
        self.in_conv = operations.Conv2d(in_channels, out_channels, kernel, padding=padding) if widens else None
        self.block1 = operations.Conv2d(out_channels, out_channels, 3, padding=1)
        self.block2 = operations.Conv2d(out_channels, out_channels, kernel, padding=padding)
        # The skip starts after in_conv, so this convolution keeps the width.
        skips_by_conv = not config.identity_skip
        self.skep = operations.Conv2d(out_channels, out_channels, kernel, padding=padding) if skips_by_conv else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W), or half the size, rounded up, if the block downsamples."""
        if self.down_opt is not None:
            x = self.down_opt(x)
        if self.in_conv is not None:
            x = self.in_conv(x)
        h: Tensor = self.block2(functional.relu(self.block1(x)))
        return h + (x if self.skep is None else self.skep(x))


class FullAdapter(nn.Module):
    """The adapter of the paper: 77M parameters at the published widths. SDXL differs in data only, not in code.

    Args:
        config: A config of kind ``full``.
        operations: Namespace that the layers come from.

    Source: arXiv 2302.08453, section 3.2; TencentARC/T2I-Adapter ``Adapter`` and ``Adapter_XL``.
    """

    def __init__(self, config: AdapterConfig, operations: LayerOperations = DEFAULT_OPERATIONS) -> None:
        super().__init__()
        self.config = config
        self.conv_in = operations.Conv2d(config.in_channels, config.channels[0], 3, padding=1)
        widths = (config.channels[0], *config.channels)
        self.body = nn.ModuleList(
            ResnetBlock(
                widths[level] if first else widths[level + 1],
                widths[level + 1],
                first and level in config.down_levels,
                config,
                operations,
            )
            for level in range(len(config.channels))
            for first in (block == 0 for block in range(config.num_res_blocks))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the features of a condition image.

        Args:
            x: (B, image_channels, H, W) in [0, 1]; H and W are multiples of ``config.unshuffle``.

        Returns:
            One (B, channels[i], ceil(H / strides[i]), ceil(W / strides[i])) per level, fine to coarse.
        """
        x = self.conv_in(functional.pixel_unshuffle(x, self.config.unshuffle))
        features = []
        for index, block in enumerate(self.body, start=1):
            x = block(x)
            if index % self.config.num_res_blocks == 0:
                features.append(x)
        return features


class LightResnetBlock(nn.Module):
    """A residual block of two 3×3 convolutions.

    Args:
        channels: Width of the input and the output.
        operations: Namespace that the layers come from.
    """

    def __init__(self, channels: int, operations: LayerOperations) -> None:
        super().__init__()
        self.block1 = operations.Conv2d(channels, channels, 3, padding=1)
        self.block2 = operations.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        h: Tensor = self.block2(functional.relu(self.block1(x)))
        return h + x


class LightLevel(nn.Module):
    """One level of a light adapter: shrink, narrow, residual blocks, widen.

    Args:
        in_channels: Width of the input.
        inner_channels: Width of the residual blocks.
        out_channels: Width of the output.
        config: Number of residual blocks.
        down: Halve the size first.
        operations: Namespace that the layers come from.
    """

    def __init__(
        self,
        in_channels: int,
        inner_channels: int,
        out_channels: int,
        config: AdapterConfig,
        *,
        down: bool,
        operations: LayerOperations,
    ) -> None:
        super().__init__()
        self.down_opt = Downsample(in_channels, False, operations) if down else None
        self.in_conv = operations.Conv2d(in_channels, inner_channels, 1)
        self.body = nn.Sequential(*(LightResnetBlock(inner_channels, operations) for _ in range(config.num_res_blocks)))
        self.out_conv = operations.Conv2d(inner_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W), or half the size, rounded up, if the level downsamples."""
        if self.down_opt is not None:
            x = self.down_opt(x)
        return self.out_conv(self.body(self.in_conv(x)))  # type: ignore[no-any-return]


class LightAdapter(nn.Module):
    """The small adapter (18M parameters at a quarter of the width), published for colour.

    Args:
        config: A config of kind ``light``.
        operations: Namespace that the layers come from.

    Source: TencentARC/T2I-Adapter ``Adapter_light``; the paper's *small* (÷ 4) and *tiny* (÷ 8).
    """

    def __init__(self, config: AdapterConfig, operations: LayerOperations = DEFAULT_OPERATIONS) -> None:
        super().__init__()
        self.config = config
        widths = (config.in_channels, *config.channels)
        self.body = nn.ModuleList(
            LightLevel(
                widths[level],
                config.inner_channels[level],
                widths[level + 1],
                config,
                down=level in config.down_levels,
                operations=operations,
            )
            for level in range(len(config.channels))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the features of a condition image; shapes as in :meth:`FullAdapter.forward`."""
        x = functional.pixel_unshuffle(x, self.config.unshuffle)
        features = []
        for level in self.body:
            x = level(x)
            features.append(x)
        return features


Adapter = FullAdapter | LightAdapter
_NETWORKS: tuple[tuple[Kind, type[FullAdapter] | type[LightAdapter]], ...] = (
    ("full", FullAdapter),
    ("light", LightAdapter),
)


def build_adapter(
    config: AdapterConfig, operations: LayerOperations = DEFAULT_OPERATIONS, device: str = "cpu"
) -> Adapter:
    """Build the network that a config describes.

    Args:
        config: The shape of the network.
        operations: Namespace that the layers come from.
        device: Where the parameters are made; ``meta`` allocates nothing.

    Returns:
        The network, with the layers' default initialisation.
    """
    with torch.device(device):
        return dict(_NETWORKS)[config.kind](config, operations)
