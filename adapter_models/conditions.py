"""What an adapter was trained for, as far as its metadata or its published name says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

CONDITION_KEY = "t2i_adapter.condition"
FAMILY_KEY = "t2i_adapter.family"
COLOR_ORDER_KEY = "t2i_adapter.color_order"


@dataclass(frozen=True)
class Condition:
    """A kind of condition image.

    Attributes:
        name: The field's word for it.
        words: Lower-case words of published file names that mean it.
        expects: What the picture must look like, for the user.
        task: Its number for the CoAdapter fuser, where that knows it.
    """

    name: str
    words: tuple[str, ...]
    expects: str
    task: int | None = None


# Source of the numbers: TencentARC/T2I-Adapter ``ExtraCondition``.
STYLE = 5
# The first row with a word in the name wins: "openpose" before "pose", "zoedepth" before "depth".
CONDITIONS = (
    Condition("lineart", ("lineart",), "white lines on black"),
    Condition("sketch", ("sketch", "scribble", "softedge", "pidinet"), "white sketch lines on black", task=0),
    Condition("canny", ("canny",), "white Canny edges on black", task=4),
    Condition("openpose", ("openpose",), "OpenPose body skeleton on black", task=7),
    Condition("keypose", ("keypose",), "MMPose body keypoints on black", task=1),
    Condition("zoedepth", ("zoedepth", "zoe"), "ZoeDepth map, near is white"),
    Condition("depth", ("depth", "midas"), "MiDaS depth map, near is white", task=3),
    Condition("segmentation", ("segmentation", "seg"), "segmentation in the 182 COCO-Stuff colours", task=2),
    Condition("color", ("color", "colour", "palette"), "the picture's colours in cells of 64 pixels", task=6),
    Condition("recolor", ("recolor",), "the picture in gray"),
    Condition("style", ("style",), "any picture", task=STYLE),
)
# Those of adapters that take an image; a style adapter is another kind of network.
IMAGE_CONDITIONS = tuple(row.name for row in CONDITIONS if row.name != "style")
FAMILY_WORDS = (
    ("SDXL", r"sdxl|(?<![a-z])xl(?![a-z])"),
    ("SD2.x", r"sd-?2[01]|sd-?v?2(?![0-9])"),
    ("SD1.x", r"sd-?1[45]|sd-?v?1(?![0-9])"),
)


def condition_of(name: str, metadata: Mapping[str, str]) -> Condition | None:
    """Return the condition that metadata or else the published name tells of, or None."""
    text = metadata.get(CONDITION_KEY, name).lower()
    words = set(re.split(r"[^a-z]+", re.sub(r"sd[0-9xl].*?(?=[-_.]|$)", " ", text)))
    exact = next((row for row in CONDITIONS if words & set(row.words) or text == row.name), None)
    return exact or next((row for row in CONDITIONS if any(word in text for word in row.words if len(word) > 3)), None)


def family_of(name: str, metadata: Mapping[str, str]) -> str | None:
    """Return ``SD1.x``, ``SD2.x`` or ``SDXL`` where metadata or else the published name says so, else None."""
    if FAMILY_KEY in metadata:
        return metadata[FAMILY_KEY]
    return next((family for family, pattern in FAMILY_WORDS if re.search(pattern, name.lower())), None)
