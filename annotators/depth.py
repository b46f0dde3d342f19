"""Normalize depth from any source as for the training of the depth adapters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.checks import check_choice
from .errors import AnnotatorError

_WHERE = "Normalize depth"
DEPTH_INPUTS = ("disparity", "depth")
# Depths below this fraction of the greatest are clamped to it: at 0 the disparity would be infinite.
NEAREST = 0.01
# If channels differ by more than this fraction of the range, the picture is coloured.
COLOURED = 0.05


def normalize_depth(depth: Tensor, mode: str = "midas", input_is: str = "disparity", gamma: float = 0.0) -> Tensor:
    """Convert depth maps to the range and polarity that the adapters were trained with: near is white.

    Args:
        depth: (B, C, H, W), floating point of any range; C of 1, or 3 equal ones (a fourth, alpha, is dropped).
        mode: A name in :data:`DEPTH_MODES`. ``midas``: disparity from its least to its greatest value. ``zoe``:
            depth from its 2nd to its 85th percentile. Each picture of a batch is scaled on its own.
        input_is: What greater values mean: near (``disparity``) or far (``depth``, not below 0).
        gamma: Exponent of the result; 0 for that of the mode (midas 1, zoe 2.2).

    Returns:
        (B, 3, H, W) of the input's type in [0, 1]; a map of one value becomes black.

    Raises:
        AnnotatorError: The input is not depth, or a choice or gamma is not valid.

    Source:
        TencentARC's MiDaS wrapper; the gamma corrected ZoeDepth of the SDXL adapter.
    """
    check_choice(f"{_WHERE}, mode", mode, (row.name for row in DEPTH_MODES), error=AnnotatorError)
    check_choice(f"{_WHERE}, input_is", input_is, DEPTH_INPUTS, error=AnnotatorError)
    row = next(row for row in DEPTH_MODES if row.name == mode)
    _check_gamma(gamma)
    values = check_depth(depth)
    if input_is == "depth" and values.min() < 0:
        raise AnnotatorError(
            f"{_WHERE}, image",
            f"a depth of {values.min().item():.3g}",
            "depths from 0 up",
            "If greater values are nearer, set input_is to disparity.",
            says="Depth can't be negative.",
        )
    wanted = values if row.wants == input_is else _inverse(values)
    near = row.nearness(wanted).clamp(0, 1) ** (gamma or row.gamma)
    return near.to(depth.dtype).expand(-1, 3, -1, -1)


def _check_gamma(gamma: float) -> None:
    if not (math.isfinite(gamma) and gamma >= 0):
        raise AnnotatorError(
            f"{_WHERE}, gamma",
            str(gamma),
            "0 (the mode's own), or above 0",
            "Enter one.",
            says="Gamma can't be negative or infinite.",
        )


def check_depth(depth: Tensor) -> Tensor:
    """Check a depth map and reduce it to one channel.

    Args:
        depth: See :func:`normalize_depth`.

    Returns:
        (B, 1, H, W) float32.

    Raises:
        AnnotatorError: Another shape or type, colours, NaN or infinite values.
    """
    shape = tuple(depth.shape)
    if depth.ndim != 4 or shape[1] not in (1, 3, 4) or 0 in shape or not depth.is_floating_point():
        expected, fix = "depth maps (B, 1 or 3, H, W)", "Pass one-channel or gray maps."
        raise AnnotatorError(
            f"{_WHERE}, image",
            f"{depth.dtype} of shape {shape}",
            expected,
            fix,
            says="This is not a depth map.",
            topic="depth-map",
        )
    values = depth[:, :3].to(torch.float32)
    low, high = torch.aminmax(values)
    if not (low.isfinite() and high.isfinite()):
        raise AnnotatorError(
            f"{_WHERE}, image",
            "NaN or infinite values",
            "numbers",
            "Fill the holes of the map first.",
            says="The depth map has holes.",
        )
    spread = (values.amax(1) - values.amin(1)).max()
    if spread > COLOURED * (high - low):
        raise AnnotatorError(
            f"{_WHERE}, image",
            "a coloured picture",
            "gray values of depth",
            "Turn off the colours where the depth is made.",
            says="This is a coloured picture, not a depth map.",
            topic="depth-map",
        )
    return values.mean(1, keepdim=True) if spread else values[:, :1]


def _inverse(values: Tensor) -> Tensor:
    """Convert depth to disparity or back, for each picture separately."""
    greatest = values.amax((1, 2, 3), keepdim=True)
    return 1 / torch.maximum(values, greatest * NEAREST).clamp(min=torch.finfo(values.dtype).tiny)


def _least_to_greatest(disparity: Tensor) -> Tensor:
    low, high = disparity.amin((1, 2, 3), keepdim=True), disparity.amax((1, 2, 3), keepdim=True)
    return (disparity - low) / (high - low).clamp(min=torch.finfo(disparity.dtype).tiny)


def _between_percentiles(depth: Tensor) -> Tensor:
    ranked = depth.flatten(1).sort(1).values
    low, high = (_percentile(ranked, percent).view(-1, 1, 1, 1) for percent in (2, 85))
    # A map of one value has nothing near.
    return torch.where(high > low, 1 - (depth - low) / (high - low).clamp(min=torch.finfo(depth.dtype).tiny), 0)


def _percentile(ranked: Tensor, percent: float) -> Tensor:
    """Interpolate between two ranks, as numpy does; torch.quantile takes 16 million values at most."""
    place = (ranked.shape[1] - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, ranked.shape[1] - 1)
    return torch.lerp(ranked[:, below], ranked[:, above], place - below)


@dataclass(frozen=True)
class DepthMode:
    """A way to normalise.

    Attributes:
        name: Its name.
        wants: Which of DEPTH_INPUTS it works on.
        nearness: From (B, 1, H, W) of that to values of which 1 is near and 0 is far.
        gamma: Exponent that the adapters were trained with.
    """

    name: str
    wants: str
    nearness: Callable[[Tensor], Tensor]
    gamma: float


DEPTH_MODES = (
    DepthMode("midas", "disparity", _least_to_greatest, 1.0),
    DepthMode("zoe", "depth", _between_percentiles, 2.2),
)
