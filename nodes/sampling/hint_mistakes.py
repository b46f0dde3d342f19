"""See from a condition image whether it is of the kind that an adapter was trained on, and say what mends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...adapter_models.conditions import Condition
from ...adapter_models.info import AdapterInfo
from ...annotators.segmentation import LABELS, label_colour

# Pictures of a batch, and pixels of their sides, that are looked at.
_PICTURES, _SIDE = 4, 192
# Values below count as black, above as white; the chroma above counts as a colour.
_BLACK, _WHITE, _CHROMA = 0.1, 0.9, 0.15
# A picture without a value above this is black for every adapter.
_EMPTY = 0.05
# How far a colour may be from its class's, for files that were compressed.
COLOUR_ERROR = 6 / 255
# Share of a condition image that the fit "crop" may cut off unmentioned: a photograph of 3:2 loses a third in a square.
LARGEST_CUT = 0.4


@dataclass(frozen=True)
class Look:
    """What condition images show, as shares of their pixels from 0 to 1.

    Attributes:
        bright: Brighter than half.
        black: Black.
        colored: In colours, of those that are not black.
        hard: Black or white.
        labelled: In a colour of COCO-Stuff's classes, of those that are not black.
    """

    bright: float
    black: float
    colored: float
    hard: float
    labelled: float


@dataclass(frozen=True)
class Mistake:
    """A kind of image that is no condition image for some adapters.

    Attributes:
        conditions: Names of the conditions; see ``adapter_models.conditions``.
        shows: Whether the images are of this kind.
        sees: What they are, to follow "The image shows".
    """

    conditions: tuple[str, ...]
    shows: Callable[[Look], bool]
    sees: str


_LINES, _POSES, _DEPTHS = ("sketch", "canny", "lineart"), ("openpose", "keypose"), ("depth", "zoedepth")
# The first row that fits is told. Limits are well above what the annotators make of photographs.
MISTAKES = (
    Mistake(_LINES, lambda look: look.colored > 0.4, "colours, as a photograph or a colour map does"),
    Mistake(_LINES, lambda look: look.bright > 0.5, "a bright ground, as dark lines on paper do"),
    Mistake(_LINES, lambda look: look.hard < 0.3, "shades of gray, as a photograph or a depth map does"),
    Mistake(_DEPTHS, lambda look: look.colored > 0.3, "colours, as a photograph or a colour map does"),
    Mistake(_DEPTHS, lambda look: look.hard > 0.97 and 0 < look.black < 1, "only black and white, as lines do"),
    Mistake(_POSES, lambda look: look.black < 0.5, "no black ground, so it is not a drawn skeleton"),
    Mistake(_POSES, lambda look: look.colored < 0.5, "no colours, and the limbs of a skeleton have one each"),
    Mistake(("segmentation",), lambda look: look.colored < 0.1 and look.labelled < 0.5, "no colours of classes"),
    Mistake(
        ("segmentation",),
        lambda look: look.labelled < 0.5,
        "other colours than those of COCO-Stuff's classes: maps for ControlNets have the colours of ADE20K",
    ),
    Mistake(("color",), lambda look: look.colored < 0.1 and look.hard > 0.9, "lines in black and white"),
)
# The nodes that make the condition image of an adapter.
MENDS = {
    "sketch": "T2I Clean Sketch makes white lines of a drawing, T2I Sketch (PiDiNet) of a photograph.",
    "canny": "T2I Canny Edges makes them of a photograph; Invert Image turns dark lines into white ones.",
    "lineart": "T2I Lineart makes them of a photograph, T2I Clean Sketch of a drawing.",
    "openpose": "T2I Detect Pose finds the joints in a photograph, and T2I Draw Pose draws the skeleton.",
    "keypose": "T2I Detect Pose finds the joints in a photograph, and T2I Draw Pose draws the skeleton.",
    "depth": "T2I Depth estimates it from a photograph; T2I Normalize Depth takes other nodes' depth.",
    "zoedepth": "T2I Depth estimates it from a photograph; T2I Normalize Depth takes other nodes' depth.",
    "segmentation": "T2I Segmentation makes one of a photograph, T2I Paint Segmentation of masks.",
    "color": "T2I Color Palette makes one of a photograph.",
    "recolor": "T2I Gray makes one of a photograph.",
}


def image_mistake(info: AdapterInfo, hint: Tensor) -> str | None:
    """Say why an adapter can't follow condition images as it was trained, or return None.

    Args:
        info: The adapter's facts. Without a known condition, only empty images are told.
        hint: Condition images (B, C, H, W) in [0, 1].

    Returns:
        What the images show, what the adapter expects, and the nodes that mend it.
    """
    condition = info.condition
    if float(hint[:, : 3 if hint.shape[1] >= 3 else 1].amax()) <= _EMPTY:
        return f"The condition image is black everywhere. {_expectation(condition)}".rstrip()
    if condition is None:
        return None
    look = look_at(hint)
    found = next((row for row in MISTAKES if condition.name in row.conditions and row.shows(look)), None)
    return None if found is None else f"The condition image shows {found.sees}. {_expectation(condition)}"


def mask_mistake(mask: Tensor | None) -> str | None:
    """Say that a mask lets an adapter act nowhere, or return None.

    Args:
        mask: (M, H, W) in [0, 1], or None for none.
    """
    if mask is None or bool(mask.any()):
        return None
    return (
        "The mask is black everywhere, so the adapter acts nowhere. Paint it white where the adapter shall act (of "
        "Load Image: Open in MaskEditor), or remove the link to mask."
    )


def crop_mistake(hint_size: tuple[int, int], size: tuple[int, int]) -> str | None:
    """Say that the fit "crop" leaves little of a condition image, or return None.

    Args:
        hint_size: Height and width of the condition image in pixels.
        size: Height and width of the picture in pixels.
    """
    aspects = sorted(height / width for height, width in (hint_size, size))
    left = aspects[0] / aspects[1]
    if 1 - left < LARGEST_CUT:
        return None
    return (
        f"Only {left:.0%} of the condition image is used: {hint_size[1]}×{hint_size[0]} is cropped for a picture of "
        f"{size[1]}×{size[0]}. Set fit to pad or stretch, or make the picture in the image's proportions."
    )


def look_at(hint: Tensor) -> Look:
    """Measure condition images on a small copy.

    Args:
        hint: (B, C, H, W) in [0, 1].
    """
    # Nearest pixels, since averages have other colours.
    size = [min(side, _SIDE) for side in hint.shape[-2:]]
    small = functional.interpolate(hint[:_PICTURES].float(), size=size, mode="nearest-exact").cpu()
    pixels = small[:, : 3 if small.shape[1] >= 3 else 1].movedim(1, -1).flatten(0, 2)
    pixels = pixels.expand(-1, 3)
    high, low = pixels.amax(1), pixels.amin(1)
    drawn = high >= _BLACK
    return Look(
        bright=_share(pixels.mean(1) > 0.5),
        black=_share(~drawn),
        colored=_share((high - low)[drawn] > _CHROMA),
        hard=_share(~drawn | (low > _WHITE)),
        labelled=_share(_labelled(pixels[drawn])),
    )


def _share(true: Tensor) -> float:
    return float(true.float().mean()) if len(true) else 0.0


def _labelled(pixels: Tensor) -> Tensor:
    colours = torch.tensor([label_colour(number) for number in range(1, len(LABELS) + 1)]) / 255
    some = pixels[:: max(1, len(pixels) // 2048)]
    return (some.unsqueeze(1) - colours).abs().amax(-1).amin(-1) <= COLOUR_ERROR


def _expectation(condition: Condition | None) -> str:
    if condition is None:
        return "Draw in white, or connect the node that makes what the adapter was trained on."
    return f"This adapter expects {condition.expects}. {MENDS.get(condition.name, '')}".rstrip()
