"""Line art by the generator of "informative drawings"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...common.weights import LayerOperations
from ..weights import ANNOTATOR_WEIGHTS_CHECK, fill_annotator, unwrap
from .batches import as_picture, draw_in_parts
from .winograd import convolve

_LAYOUT = "the lineart generator (sk_model and sk_model2: model0 to model4, 24 tensors)"
# Twice halved, and then padded by a reflected pixel.
_LEAST = 8
SHRINKS = 4
# Width at full size in the published weights.
WIDTH = 64
# Side of the last kernel.
LAST = 7
# Of which the deviations are worked on together: few enough for a core's cache.
NUMBERS_AT_ONCE = 2**17


def _normalise(x: Tensor) -> Tensor:
    """Give every channel of one picture mean 0 and variance 1; (1, C, H, W) -> the same shape.

    For a batch of one this is what the norms of batches compute, which are several times faster on a CPU than those of
    instances. But they add up a channel's pixels one after the other: the lines of photographs of 1024 pixels came out
    0.004 wrong. So the moments are added up row by row here.
    """
    if x.device.type != "cpu":
        return functional.batch_norm(x, None, None, training=True)
    rows = x.movedim(1, -1)[0]
    count = rows.shape[0] * rows.shape[1]
    mean = rows.sum(1, dtype=torch.float32).sum(0) / count
    parts = rows.split(max(1, NUMBERS_AT_ONCE // (rows.shape[1] * rows.shape[2])))
    variance = torch.cat([(part - mean).square_().sum(1) for part in parts]).sum(0) / count
    return functional.batch_norm(x, mean.to(x.dtype), variance.to(x.dtype), training=False)


def reflect(x: Tensor, border: int) -> Tensor:
    """Continue pictures on all sides by their mirror image; (B, C, H, W) -> (B, C, H + 2 border, W + 2 border)."""
    return functional.pad(x, (border,) * 4, mode="reflect")


class Residual(nn.Module):
    """Two normalised convolutions and a residual.

    Args:
        width: Width of the input and the output.
        operations: Namespace that the layers come from.
    """

    def __init__(self, width: int, operations: LayerOperations) -> None:
        super().__init__()
        self.conv_block = nn.ModuleDict({name: operations.Conv2d(width, width, 3) for name in ("1", "5")})

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y = functional.relu_(_normalise(convolve(self.conv_block["1"], reflect(x, 1))))
        return _normalise(convolve(self.conv_block["5"], reflect(y, 1))).add_(x)


class Lineart(nn.Module):
    """Shrink twice, three residual blocks, grow twice.

    Args:
        operations: Namespace that the layers come from.
        width: Width at full size.

    Source: Chan, Durand and Isola, Learning to generate line drawings that convey geometry and semantics,
    arXiv 2203.12691.
    """

    def __init__(self, operations: LayerOperations = nn, width: int = WIDTH) -> None:
        super().__init__()
        conv, transposed = operations.Conv2d, operations.ConvTranspose2d
        # The numbers are those of the published weights; between them lie layers that have none.
        self.model0 = nn.ModuleDict({"1": conv(3, width, 7)})
        self.model1 = nn.ModuleDict(
            {
                "0": conv(width, 2 * width, 3, stride=2, padding=1),
                "3": conv(2 * width, 4 * width, 3, stride=2, padding=1),
            }
        )
        self.model2 = nn.ModuleList(Residual(4 * width, operations) for _ in range(3))
        twice = {"stride": 2, "padding": 1, "output_padding": 1}
        self.model3 = nn.ModuleDict(
            {"0": transposed(4 * width, 2 * width, 3, **twice), "3": transposed(2 * width, width, 3, **twice)}
        )
        self.model4 = nn.ModuleDict({"1": conv(width, LAST, (1, LAST))})

    def forward(self, x: Tensor) -> Tensor:
        """Draw pictures.

        Args:
            x: (B, 3, H, W), RGB in [0, 1], H and W multiples of 4.

        Returns:
            (B, 1, H, W) in [0, 1]: dark lines on white paper.
        """
        # One by one: the norms are those of a picture, and a picture fills a GPU.
        return torch.cat([self._draw(picture) for picture in x.split(1)])

    def _draw(self, x: Tensor) -> Tensor:
        x = reflect(x.contiguous(memory_format=torch.channels_last), 3)
        for conv in (*self.model0.values(), *self.model1.values()):
            x = functional.relu_(_normalise(conv(x)))
        for block in self.model2:
            x = block(x)
        for conv in self.model3.values():
            x = functional.relu_(_normalise(conv(x)))
        rows = self.model4["1"](reflect(x, 3))
        height = rows.shape[-2] - LAST + 1
        total = rows[:, :1, :height]
        for row in range(1, LAST):
            total = total + rows[:, row : row + 1, row : row + height]
        return torch.sigmoid(total)


def fold_last(where: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the published last convolution into one that computes the rows of its kernel apart.

    With a single output channel a convolution leaves a CPU mostly idle; with seven it is eight times as fast, and what
    is left is to add the seven maps, each moved by its row.

    Args:
        where: The file, for messages.
        tensors: The weights, as published or folded already.

    Returns:
        The same, where (1, C, 7, 7) became (7, C, 1, 7) and the bias stands in the first row.

    Raises:
        AnnotatorError: The last convolution is missing or has another shape.
    """
    expected = {"model4.1.weight": (1, WIDTH, LAST, LAST), "model4.1.bias": (1,)}
    got = {name: tuple(tensors[name].shape) for name in expected if name in tensors}
    if got.get("model4.1.weight") == (LAST, WIDTH, 1, LAST):
        return dict(tensors)
    ANNOTATOR_WEIGHTS_CHECK.shapes(where, _LAYOUT, got, expected)
    kernel, bias = (tensors[name] for name in expected)
    rows = {
        "model4.1.weight": kernel.movedim(2, 0).movedim(1, 2).reshape(LAST, -1, 1, LAST),
        "model4.1.bias": torch.cat((bias, bias.new_zeros(LAST - 1))),
    }
    return {**tensors, **rows}


def load_lineart(
    content: Mapping[str, Any], where: str = "lineart weights", operations: LayerOperations = nn
) -> Lineart:
    """Build the network from the content of a weights file.

    Args:
        content: ``sk_model.pth`` (fine lines) or ``sk_model2.pth`` (coarse lines), or its tensors.
        where: The file, for messages.
        operations: Namespace that the layers come from.

    Returns:
        The network, in evaluation mode and without gradients.

    Raises:
        AnnotatorError: Missing, extra or misshapen weights, or NaN.
    """
    network = fill_annotator(where, _LAYOUT, lambda: Lineart(operations), fold_last(where, unwrap(where, content)))
    # The layout of the pictures, so that no convolution has to turn its weights around again.
    return network.to(memory_format=torch.channels_last)


def lineart_lines(network: nn.Module, images: Tensor) -> Tensor:
    """Draw pictures as line art: white on black, as the lineart adapter was trained.

    Args:
        network: From :func:`load_lineart`.
        images: (B, C, H, W) in [0, 1]. Sizes that are not multiples of 4 are padded at the right and bottom.

    Returns:
        (B, 3, H, W), float32, on the device of the pictures.

    Raises:
        AnnotatorError: The input is not pictures, or they are too small or too large.
    """

    def compute(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = functional.pad(x, (0, -width % SHRINKS, 0, -height % SHRINKS), mode="replicate")
        lines: Tensor = 1 - network(padded)
        return lines[..., :height, :width]

    return as_picture(draw_in_parts("lineart", network, images, _LEAST, compute), 0.0)
