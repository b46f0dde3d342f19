"""Line art by the generator of "informative drawings"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .learned import annotate, as_picture
from .weights import Operations, fill, unwrap

LAYOUT = "the lineart generator (sk_model and sk_model2: model0 to model4, 24 tensors)"
# Twice halved, and then padded by a reflected pixel.
LEAST = 8
SHRINKS = 4


def normalise(x: Tensor) -> Tensor:
    """Give every channel of every picture mean 0 and variance 1; (B, C, H, W) -> the same shape."""
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    scale = torch.rsqrt(variance + 1e-5)
    return torch.addcmul(-mean * scale, x, scale)


def reflect(x: Tensor, border: int) -> Tensor:
    """Continue pictures on all sides by their mirror image; (B, C, H, W) -> (B, C, H + 2 border, W + 2 border)."""
    return functional.pad(x, (border,) * 4, mode="reflect")


class Residual(nn.Module):
    """Two normalised convolutions and a residual.

    Args:
        width: Width of the input and the output.
        operations: Namespace that the layers come from.
    """

    def __init__(self, width: int, operations: Operations) -> None:
        super().__init__()
        self.conv_block = nn.ModuleDict({name: operations.Conv2d(width, width, 3) for name in ("1", "5")})

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y = functional.relu_(normalise(self.conv_block["1"](reflect(x, 1))))
        return normalise(self.conv_block["5"](reflect(y, 1))).add_(x)


class Lineart(nn.Module):
    """Shrink twice, three residual blocks, grow twice.

    Args:
        operations: Namespace that the layers come from.
        width: Width at full size: 64 in the published weights.

    Source: Chan, Durand and Isola, Learning to generate line drawings that convey geometry and semantics,
    arXiv 2203.12691.
    """

    def __init__(self, operations: Operations = nn, width: int = 64) -> None:
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
        self.model4 = nn.ModuleDict({"1": conv(width, 1, 7)})

    def forward(self, x: Tensor) -> Tensor:
        """Draw pictures.

        Args:
            x: (B, 3, H, W), RGB in [0, 1], H and W multiples of 4.

        Returns:
            (B, 1, H, W) in [0, 1]: dark lines on white paper.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        x = functional.relu_(normalise(self.model0["1"](reflect(x, 3))))
        for conv in self.model1.values():
            x = functional.relu_(normalise(conv(x)))
        for block in self.model2:
            x = block(x)
        for conv in self.model3.values():
            x = functional.relu_(normalise(conv(x)))
        return torch.sigmoid(self.model4["1"](reflect(x, 3)))


def load(content: Mapping[str, Any], where: str = "lineart weights", operations: Operations = nn) -> Lineart:
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
    return fill(where, LAYOUT, lambda: Lineart(operations), unwrap(where, content))


def lineart_lines(network: nn.Module, images: Tensor) -> Tensor:
    """Draw pictures as line art: white on black, as the lineart adapter was trained.

    Args:
        network: From :func:`load`.
        images: (B, C, H, W) in [0, 1]. Sizes that are no multiple of 4 are padded at the right and bottom.

    Returns:
        (B, 3, H, W), float32, on the device of the pictures.

    Raises:
        AnnotatorError: No pictures, or of a size that can't be computed.
    """

    def compute(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = functional.pad(x, (0, -width % SHRINKS, 0, -height % SHRINKS), mode="replicate")
        lines: Tensor = 1 - network(padded)
        return lines[..., :height, :width]

    return as_picture(annotate("lineart", network, images, LEAST, compute), 0.0)
