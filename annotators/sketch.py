"""Sketches from drawings and photographs, without a network: white lines on black, as the adapters expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.checks import check_choice
from ..common.images import luma
from . import filters
from .errors import AnnotatorError
from .images import check_images

_WHERE = "Clean sketch"
INVERTS = ("auto", "yes", "no")


def clean_sketch(
    images: Tensor, mode: str = "threshold", threshold: float = 0.5, invert: str = "auto", line_width: int = 0
) -> Tensor:
    """Make a sketch of lines on a plain ground.

    Args:
        images: (B, C, H, W) in [0, 1].
        mode: A name in :data:`SKETCH_MODES`. ``threshold`` keeps the lines of a drawing, ``line art`` takes what is
            darker than its surroundings, ``xdog`` finds the edges of photographs.
        threshold: Lines from this strength on, 0 to 1; 0 leaves them soft. 0.5 is each mode's usual choice: half of
            full contrast, of the median strength of the lines (``line art``), or as published (``xdog``).
        invert: ``yes`` for dark lines on a bright ground, ``no`` for bright lines on a dark one, ``auto`` decides it
            for each picture by its median luma.
        line_width: Width of the lines in pixels: they are thinned to one and drawn again. 0 leaves them.

    Returns:
        (B, 3, H, W) of the input's type: white on black.

    Raises:
        AnnotatorError: The input is not pictures, or a choice or a number is not valid.
    """
    color = check_images(f"{_WHERE}, image", images)
    check_choice(f"{_WHERE}, mode", mode, (row.name for row in SKETCH_MODES), error=AnnotatorError)
    check_choice(f"{_WHERE}, invert", invert, INVERTS, error=AnnotatorError)
    row = next(row for row in SKETCH_MODES if row.name == mode)
    _check_lines(threshold, line_width)
    bright = _is_bright(color, invert, row.ground)
    lines = row.strength(torch.where(bright, color, 1 - color)).clamp(0, 1)
    if threshold:
        marked = lines >= threshold * row.usual / 0.5
        lines = (filters.thicken(filters.thin(marked), line_width) if line_width else marked).to(torch.float32)
    return lines.to(images.dtype).expand(-1, 3, -1, -1)


def _check_lines(threshold: float, line_width: int) -> None:
    if not 0 <= threshold <= 1:
        raise AnnotatorError(
            f"{_WHERE}, threshold",
            str(threshold),
            "0 (soft) to 1",
            "Most drawings need 0.5.",
            says="The threshold is out of range.",
        )
    if line_width < 0 or (line_width and not threshold):
        raise AnnotatorError(
            f"{_WHERE}, line_width",
            f"{line_width} with a threshold of {threshold}",
            "0, or a width with a threshold above 0",
            "Soft lines have no width.",
            says="Only lines with a threshold can have a width.",
        )


def _is_bright(color: Tensor, invert: str, ground: float) -> Tensor:
    """Tell of each picture whether its lines are dark: (B, 1, 1, 1) bool."""
    if invert == "auto":
        return luma(color).flatten(1).median(1).values.view(-1, 1, 1, 1) > ground
    return torch.full((len(color), 1, 1, 1), invert == "yes", device=color.device)


def _darkness(images: Tensor) -> Tensor:
    """Return how dark the darkest channel is: coloured lines count in full."""
    return 1 - images.amin(1, keepdim=True)


def _darker_than_around(images: Tensor) -> Tensor:
    """Return how much darker pixels are than their surroundings, relative to what is usual among the lines.

    Source:
        "Standard lineart" of sd-webui-controlnet: sigma 6, lines from 8/255 on, their median at 127/255.
    """
    difference = (filters.blur(images, 6.0) - images).amin(1, keepdim=True).clamp(min=0)
    medians = []
    for plane in difference:
        ranked = plane[plane > 8 / 255].sort().values
        middle = (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2 if len(ranked) else plane.new_zeros(())
        medians.append(middle.clamp(min=16 / 255))
    return difference / torch.stack(medians).view(-1, 1, 1, 1) * (127 / 255)


def _differs_between_scales(images: Tensor) -> Tensor:
    """Return the difference of a wide and a narrow blur, scaled so that the published threshold is 0.5.

    Source:
        Winnemöller 2012, as sd-webui-controlnet's scribble uses it: twice the difference of sigma 5 and 0.5, from
        32/255 on.
    """
    difference = (filters.blur(images, 5.0) - filters.blur(images, 0.5)).amin(1, keepdim=True)
    return 2 * difference * (0.5 * 255 / 32)


@dataclass(frozen=True)
class SketchMode:
    """A way to find lines.

    Attributes:
        name: Its name.
        strength: From pictures (B, 3, H, W) with dark lines to the strength of lines (B, 1, H, W), 0 for none.
        usual: Strength that a threshold of 0.5 stands for.
        ground: Median luma above which the ground counts as bright. Low for modes that expect photographs.
    """

    name: str
    strength: Callable[[Tensor], Tensor]
    usual: float
    ground: float


SKETCH_MODES = (
    SketchMode("threshold", _darkness, 0.5, 0.5),
    SketchMode("line art", _darker_than_around, 0.25, 0.2),
    SketchMode("xdog", _differs_between_scales, 0.5, 0.2),
)
