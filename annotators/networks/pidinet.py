"""Lines as in a sketch, by PiDiNet: a small network of convolutions on differences between pixels.

A convolution on differences is a plain convolution with another kernel: both are linear in the pixels. So the published
kernels are folded once, when they are loaded, and the network computes nothing but plain convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...common.weights import LayerOperations
from ..weights import ANNOTATOR_WEIGHTS_CHECK, fill_annotator, unwrap
from .batches import as_picture, check_threshold, draw_in_parts
from .differences import DIFFERENCES, Difference, fold_kernel

_LAYOUT = "PiDiNet (table5_pidinet: carv4, 60 channels, 83 tensors)"
# Three times halved: smaller pictures have nothing left at the coarsest level.
_LEAST = 8
# Dilations of the convolutions that gather what is around, in cells.
REACHES = (5, 7, 9, 11)


@dataclass(frozen=True)
class Layer:
    """One of the sixteen convolutions on differences.

    Attributes:
        name: Name of the module that holds it.
        difference: Its row of :data:`DIFFERENCES`.
        level: How often the picture was halved.
        begins: Whether it begins a level, by halving.
    """

    name: str
    difference: Difference
    level: int
    begins: bool

    @property
    def key(self) -> str:
        """Name of its kernel in a state dict."""
        return f"{self.name}.weight" if self.name == "init_block" else f"{self.name}.conv1.weight"


_NAMES = ("init_block", *(f"block{level}_{block}" for level in (1, 2, 3, 4) for block in (1, 2, 3, 4)))
# The first convolution stands in for the fourth block of the first level.
LAYERS = tuple(
    Layer(name, DIFFERENCES[number % 4], int(name[5]) - 1 if number else 0, name[5:] in ("2_1", "3_1", "4_1"))
    for number, name in enumerate(name for name in _NAMES if name != "block1_4")
)


class DepthwiseBlock(nn.Module):
    """A depth-wise convolution, a point-wise one, and a residual.

    Args:
        channels: Width of the input.
        out_channels: Width of the output.
        layer: Size of the kernel, and whether the block halves the size.
        operations: Namespace that the layers come from.
    """

    def __init__(self, channels: int, out_channels: int, layer: Layer, operations: LayerOperations) -> None:
        super().__init__()
        size = layer.difference.size
        self.conv1 = operations.Conv2d(channels, channels, size, padding=size // 2, groups=channels, bias=False)
        self.conv2 = operations.Conv2d(channels, out_channels, 1, bias=False)
        self.shortcut = operations.Conv2d(channels, out_channels, 1) if layer.begins else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out, H, W), or half the size, rounded down, where the block halves it."""
        if self.shortcut is not None:
            x = functional.max_pool2d(x, 2)
        y: Tensor = self.conv2(functional.relu_(self.conv1(x)))
        return y.add_(x if self.shortcut is None else self.shortcut(x))


class Dilations(nn.Module):
    """Four dilated convolutions of the same features, added up (the paper's CDCM).

    Args:
        channels: Width of the input.
        width: Width of the output.
        operations: Namespace that the layers come from.
    """

    def __init__(self, channels: int, width: int, operations: LayerOperations) -> None:
        super().__init__()
        self.conv1 = operations.Conv2d(channels, width, 1)
        for number, reach in enumerate(REACHES, start=1):
            conv = operations.Conv2d(width, width, 3, padding=reach, dilation=reach, bias=False)
            self.add_module(f"conv2_{number}", conv)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H, W)."""
        x = self.conv1(functional.relu(x))
        total: Tensor = self.get_submodule("conv2_1")(x)
        for number in range(2, len(REACHES) + 1):
            total.add_(self.get_submodule(f"conv2_{number}")(x))
        return total


class SpatialAttention(nn.Module):
    """Weigh every place by what is there (the paper's CSAM).

    Args:
        width: Width of the input.
        operations: Namespace that the layers come from.
    """

    def __init__(self, width: int, operations: LayerOperations) -> None:
        super().__init__()
        self.conv1 = operations.Conv2d(width, 4, 1)
        self.conv2 = operations.Conv2d(4, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> the same shape."""
        return x * torch.sigmoid(self.conv2(self.conv1(functional.relu(x))))


class Reduce(nn.Module):
    """One map of lines out of the features of a level.

    Args:
        width: Width of the input.
        operations: Namespace that the layers come from.
    """

    def __init__(self, width: int, operations: LayerOperations) -> None:
        super().__init__()
        self.conv = operations.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> (B, 1, H, W)."""
        return self.conv(x)  # type: ignore[no-any-return]


class PiDiNet(nn.Module):
    """The network of the published weights, with its kernels folded.

    Args:
        operations: Namespace that the layers come from.
        channels: Width of the first level: 60 in the published weights.
        width: Width of the dilated convolutions: 24 in the published weights.

    Source: Su et al., Pixel Difference Networks for Efficient Edge Detection, arXiv 2108.07009.
    """

    def __init__(self, operations: LayerOperations = nn, channels: int = 60, width: int = 24) -> None:
        super().__init__()
        self.init_block = operations.Conv2d(3, channels, 3, padding=1, bias=False)
        widths = (channels, 2 * channels, 4 * channels, 4 * channels)
        for layer in LAYERS[1:]:
            before = widths[layer.level - 1] if layer.begins else widths[layer.level]
            self.add_module(layer.name, DepthwiseBlock(before, widths[layer.level], layer, operations))
        self.dilations = nn.ModuleList(Dilations(each, width, operations) for each in widths)
        self.attentions = nn.ModuleList(SpatialAttention(width, operations) for _ in widths)
        self.conv_reduces = nn.ModuleList(Reduce(width, operations) for _ in widths)
        self.classifier = operations.Conv2d(len(widths), 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Find lines.

        Args:
            x: (B, 3, H, W), RGB in [0, 1], H and W at least 8.

        Returns:
            (B, 1, H, W): how sure the network is of a line at each pixel, in [0, 1].
        """
        size = x.shape[-2:]
        x = self.init_block(x.contiguous(memory_format=torch.channels_last))
        lines = []
        for layer, after in zip(LAYERS[1:], (*LAYERS[2:], None), strict=True):
            x = self.get_submodule(layer.name)(x)
            if after is None or after.begins:
                lines.append(functional.interpolate(self._side(layer.level, x), size=size, mode="bilinear"))
        return torch.sigmoid(self.classifier(torch.cat(lines, 1)))

    def _side(self, level: int, x: Tensor) -> Tensor:
        return self.conv_reduces[level](self.attentions[level](self.dilations[level](x)))  # type: ignore[no-any-return]


def load_pidinet(
    content: Mapping[str, Any], where: str = "PiDiNet weights", operations: LayerOperations = nn
) -> PiDiNet:
    """Build the network from the content of a weights file, as published or with its kernels folded already.

    Args:
        content: ``table5_pidinet.pth``, or its tensors.
        where: The file, for messages.
        operations: Namespace that the layers come from.

    Returns:
        The network, in evaluation mode and without gradients.

    Raises:
        AnnotatorError: Missing, extra or misshapen weights, or NaN.
    """
    tensors = unwrap(where, content)
    # Radial kernels tell: they grow from 3×3 to 5×5 when they are folded.
    folded = all(
        tensors[layer.key].shape[-1] == 5
        for layer in LAYERS
        if layer.difference.size == 5 and layer.key in tensors and tensors[layer.key].ndim == 4
    )
    if not folded:
        for layer in LAYERS:
            tensors[layer.key] = fold_kernel(_published(where, layer, tensors), layer.difference)
    network = fill_annotator(where, _LAYOUT, lambda: PiDiNet(operations), tensors)
    # The layout of the pictures, so that no convolution has to turn its weights around again.
    return network.to(memory_format=torch.channels_last)


def _published(where: str, layer: Layer, tensors: Mapping[str, Tensor]) -> Tensor:
    out, into = tensors[layer.key].shape[:2] if layer.key in tensors else (0, 0)
    got = {layer.key: tuple(tensors[layer.key].shape)} if layer.key in tensors else {}
    ANNOTATOR_WEIGHTS_CHECK.shapes(where, _LAYOUT, got, {layer.key: (out, into, 3, 3)})
    ANNOTATOR_WEIGHTS_CHECK.numbers(where, {layer.key: tensors[layer.key]})
    return tensors[layer.key]


def pidinet_edges(network: nn.Module, images: Tensor, threshold: float = 0.5) -> Tensor:
    """Draw the lines of pictures as a sketch: white on black.

    The sketch adapters were trained with RGB pictures and the threshold 0.5.

    Args:
        network: From :func:`load_pidinet`.
        images: (B, C, H, W) in [0, 1].
        threshold: White where the network is surer of a line than this; 0 for soft lines.

    Returns:
        (B, 3, H, W), float32, on the device of the pictures.

    Raises:
        AnnotatorError: The input is not pictures, they are too small or too large, or the threshold is outside [0, 1).
    """
    check_threshold("sketch", threshold)
    return as_picture(draw_in_parts("sketch", network, images, _LEAST, network), threshold)
