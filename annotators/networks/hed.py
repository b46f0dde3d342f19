"""Soft outlines by HED, in the version whose weights are free for any use (Apache-2.0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...common.weights import LayerOperations
from ..weights import fill_annotator, unwrap
from .batches import as_picture, check_threshold, draw_in_parts
from .winograd import convolve

_LAYOUT = "HED (ControlNetHED: norm and block1 to block5, 37 tensors)"
# Four times halved: smaller pictures have nothing left at the coarsest level.
_LEAST = 16
# Width and number of convolutions of each level, fine to coarse: those of VGG-16.
_LEVELS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class Level(nn.Module):
    """The convolutions of one size, and the map of lines that they give.

    Args:
        channels: Width of the input.
        width: Width of the convolutions.
        count: Number of the convolutions.
        operations: Namespace that the layers come from.
    """

    def __init__(self, channels: int, width: int, count: int, operations: LayerOperations) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            operations.Conv2d(width if index else channels, width, 3, padding=1) for index in range(count)
        )
        self.projection = operations.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> features (B, width, H, W), lines (B, 1, H, W) before their sigmoid."""
        for conv in self.convs:
            x = functional.relu_(convolve(conv, x))
        return x, self.projection(x)


class HED(nn.Module):
    """Five levels of convolutions, each of which draws its own lines; the result is their mean.

    Args:
        operations: Namespace that the layers come from.

    Source: Xie and Tu, Holistically-Nested Edge Detection, arXiv 1504.06375; the layout is that of the weights which
    ControlNet 1.1 published.
    """

    def __init__(self, operations: LayerOperations = nn) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.zeros(1, 3, 1, 1))
        channels = 3
        for number, (width, count) in enumerate(_LEVELS, start=1):
            self.add_module(f"block{number}", Level(channels, width, count, operations))
            channels = width

    def forward(self, x: Tensor) -> Tensor:
        """Find outlines.

        Args:
            x: (B, 3, H, W), RGB in [0, 1], H and W at least 16.

        Returns:
            (B, 1, H, W) in [0, 1].
        """
        size = x.shape[-2:]
        # The weights expect bytes. Where a host streams them, this parameter may lie on another device.
        x = (x * 255 - self.norm.to(x)).contiguous(memory_format=torch.channels_last)
        x, total = self.get_submodule("block1")(x)
        for number in range(2, len(_LEVELS) + 1):
            x, lines = self.get_submodule(f"block{number}")(functional.max_pool2d(x, 2))
            total += functional.interpolate(lines, size=size, mode="bilinear")
        return torch.sigmoid(total / len(_LEVELS))


def load_hed(content: Mapping[str, Any], where: str = "HED weights", operations: LayerOperations = nn) -> HED:
    """Build the network from the content of a weights file.

    Args:
        content: ``ControlNetHED.pth``, or its tensors.
        where: The file, for messages.
        operations: Namespace that the layers come from.

    Returns:
        The network, in float32, in evaluation mode and without gradients.

    Raises:
        AnnotatorError: Missing, extra or misshapen weights, or NaN.
    """
    network = fill_annotator(where, _LAYOUT, lambda: HED(operations), unwrap(where, content))
    # The layout of the pictures, so that no convolution has to turn its weights around again.
    return network.to(memory_format=torch.channels_last)


def hed_edges(network: nn.Module, images: Tensor, threshold: float = 0.0) -> Tensor:
    """Draw the outlines of pictures: white on black, strong ones brighter.

    Args:
        network: From :func:`load_hed`.
        images: (B, C, H, W) in [0, 1].
        threshold: White where the network is surer of a line than this; 0 for soft lines.

    Returns:
        (B, 3, H, W), float32, on the device of the pictures.

    Raises:
        AnnotatorError: The input is not pictures, they are too small or too large, or the threshold is outside [0, 1).
    """
    check_threshold("soft edge", threshold)
    return as_picture(draw_in_parts("soft edge", network, images, _LEAST, network), threshold)
