"""A 3×3 convolution with a quarter of the multiplications, for wide layers on a CPU.

Winograd's minimal filtering F(4×4, 3×3): tiles of 6×6 inputs and the kernels go into a space where a convolution is a
product for each of 36 places, and come back as tiles of 4×4 outputs. GPUs do this by themselves; torch's CPU kernels do
not. The transforms cost as much memory traffic as they save arithmetic in narrow layers, so those stay as they are.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308, section 4.3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

TILE = 4  # side of an output tile
_REACH = TILE + 2  # side of an input tile
_PLACES = _REACH * _REACH
# Below this, measured, the transforms cost more than they save.
LEAST_CHANNELS = 128
LEAST_TILES = 256
# Tiles worked on at once: their 36 places should fit a core's cache.
TILES_AT_ONCE = 128
INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def convolve(conv: Any, x: Tensor) -> Tensor:
    """Apply a convolution layer, in the faster way where there is one.

    Args:
        conv: A 3×3 convolution with a bias and stride 1, such as ``torch.nn.Conv2d``.
        x: (B, C, H, W).

    Returns:
        What ``conv(x)`` returns, up to rounding (some 1e-5 of the values' spread).
    """
    border = conv.padding[0]
    height, width = (side + 2 * border - 2 for side in x.shape[-2:])
    here = x.device.type == "cpu" and all(
        each.device == x.device and each.dtype == x.dtype == torch.float32 for each in (conv.weight, conv.bias)
    )
    wide = min(conv.weight.shape[:2]) >= LEAST_CHANNELS
    if not (here and wide and height * width >= LEAST_TILES * TILE**2):
        return conv(x)  # type: ignore[no-any-return]
    # Whole tiles: what hangs over at the right and bottom is cut off again.
    padded = functional.pad(x, (border, border + -width % TILE, border, border + -height % TILE))
    return _convolve(padded, conv.weight, conv.bias)[..., :height, :width]


def _convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(B, C, 4 h + 2, 4 w + 2), (K, C, 3, 3), (K,) -> (B, K, 4 h, 4 w)."""
    into, kernel, back = (_both_ways(matrix, x) for matrix in (INPUT, KERNEL, OUTPUT))
    width, channels = weight.shape[:2]
    high, wide = ((side - 2) // TILE for side in x.shape[-2:])
    kernels = (kernel @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(_PLACES, channels, width)
    out = x.new_empty(x.shape[0], high, TILE, wide, TILE, width)
    tiles = x.permute(0, 2, 3, 1).contiguous().unfold(1, _REACH, TILE).unfold(2, _REACH, TILE)
    rows = max(1, TILES_AT_ONCE // wide)
    for picture, result in zip(tiles, out, strict=True):
        for part, answer in zip(picture.split(rows), result.split(rows), strict=True):
            places = (into @ part.permute(3, 4, 0, 1, 2).reshape(_PLACES, -1)).view(_PLACES, -1, channels)
            products = torch.bmm(places, kernels).view(_PLACES, -1)
            answers = (back @ products).view(TILE, TILE, -1, wide, width)
            torch.add(answers.permute(2, 0, 3, 1, 4), bias, out=answer)
    return out.view(-1, high * TILE, wide * TILE, width).permute(0, 3, 1, 2)


def _both_ways(matrix: tuple[tuple[float, ...], ...], like: Tensor) -> Tensor:
    """Return the matrix that transforms rows and columns at once."""
    once = torch.tensor(matrix, dtype=torch.float64, device=like.device)
    return torch.kron(once, once).to(like.dtype)
