"""What an adapter was trained for, read from its file or its published name, and which source said so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONDITION_KEY = "t2i_adapter.condition"
FAMILY_KEY = "t2i_adapter.family"
COLOR_ORDER_KEY = "t2i_adapter.color_order"
# Sources of facts about an adapter, in order of precedence. Only the last is lost when a file is renamed.
METADATA, SHAPES, CONFIG, BUNDLE, NAME = (
    "the file's metadata",
    "the shapes of its weights",
    "its config.json",
    "the bundle's own names",
    "the file's name",
)
# The key of a diffusers config that holds the published name.
PUBLISHED_AS = "_name_or_path"


@dataclass(frozen=True)
class Condition:
    """A condition that adapters are trained on.

    Attributes:
        name: The field's word for it.
        words: Lower-case words of published file names that mean it.
        expects: What the condition image must look like, in the user's words.
        task: Its number in the CoAdapter fuser, or None.
        sided: Left and right have colours of their own in the image, so a mirrored image is wrong.
    """

    name: str
    words: tuple[str, ...]
    expects: str
    task: int | None = None
    sided: bool = False


# Source of the numbers: TencentARC/T2I-Adapter ``ExtraCondition``.
STYLE_TASK = 5
# The first row with a word in the name wins: "openpose" before "pose", "zoedepth" before "depth".
CONDITIONS = (
    Condition("lineart", ("lineart",), "white lines on black"),
    Condition("sketch", ("sketch", "scribble", "softedge", "pidinet"), "white sketch lines on black", task=0),
    Condition("canny", ("canny",), "white Canny edges on black", task=4),
    Condition("openpose", ("openpose",), "OpenPose body skeleton on black", task=7, sided=True),
    Condition("keypose", ("keypose",), "MMPose body keypoints on black", task=1, sided=True),
    Condition("zoedepth", ("zoedepth", "zoe"), "ZoeDepth map, near is white"),
    Condition("depth", ("depth", "midas"), "MiDaS depth map, near is white", task=3),
    Condition("segmentation", ("segmentation", "seg"), "segmentation in the 182 COCO-Stuff colours", task=2),
    Condition("color", ("color", "colour", "palette"), "the picture's colours in cells of 64 pixels", task=6),
    Condition("recolor", ("recolor",), "the picture in gray"),
    Condition("style", ("style",), "any picture", task=STYLE_TASK),
)
# Conditions of adapters that take an image; a style adapter is a different network.
IMAGE_CONDITIONS = tuple(row.name for row in CONDITIONS if row.name != "style")
SDXL = "SDXL"
FAMILY_WORDS = (
    (SDXL, r"sdxl|(?<![a-z])xl(?![a-z])"),
    ("SD2.x", r"sd-?2[01]|sd-?v?2(?![0-9])"),
    ("SD1.x", r"sd-?1[45]|sd-?v?1(?![0-9])"),
)
FAMILY_NAMES = tuple(family for family, _ in FAMILY_WORDS)
# Families of transformers (DiT). Two of them may have the same shape, so files state theirs.
TOKEN_FAMILY_WORDS = (
    ("Flux.2", r"flux[-_. ]?2"),
    ("Flux", r"flux"),
    ("Chroma", r"chroma"),
    ("Qwen-Image", r"qwen"),
    ("Z-Image", r"z[-_ ]?image"),
    ("Lumina 2", r"lumina"),
)
TOKEN_FAMILY_NAMES = tuple(family for family, _ in TOKEN_FAMILY_WORDS)


@dataclass(frozen=True)
class Purpose:
    """What an adapter was trained for, and the source of each fact.

    Attributes:
        condition: The condition, or None if unknown.
        condition_from: Its source.
        family: A name of :data:`FAMILY_NAMES` or :data:`TOKEN_FAMILY_NAMES`, or None.
        family_from: Its source.
    """

    condition: Condition | None
    condition_from: str
    family: str | None
    family_from: str


@dataclass(frozen=True)
class ColorOrder:
    """Channel order the adapter expects: RGB or BGR.

    Attributes:
        bgr: Whether the order is BGR.
        told_by: The source; empty if assumed.
    """

    bgr: bool = False
    told_by: str = ""


def purpose_of(
    name: str,
    member: str | None,
    config: Mapping[str, object],
    metadata: Mapping[str, str],
    families: Sequence[str] = FAMILY_NAMES,
) -> Purpose:
    """Find out what an adapter was trained for; its content takes precedence over the file's name.

    Args:
        name: How the user names the file.
        member: Its entry in a CoAdapter bundle, or None.
        config: Of a diffusers folder, or empty.
        metadata: Text in the file.
        families: Families that its shapes fit. A name that contradicts them is ignored.
    """
    names = ((CONFIG, str(config.get(PUBLISHED_AS, ""))), (BUNDLE, member or ""), (NAME, name))
    found = ((condition_of(text, {}), source) for source, text in names)
    condition = next((pair for pair in found if pair[0] is not None), (None, ""))
    if CONDITION_KEY in metadata:
        condition = (condition_of("", metadata), METADATA)
    told = ((stated_family(text, {}), source) for source, text in names)
    family = next((pair for pair in told if pair[0] in families), (None, ""))
    if FAMILY_KEY in metadata:
        family = (metadata[FAMILY_KEY], METADATA)
    if len(families) == 1:
        family = (families[0], SHAPES)
    return Purpose(*condition, *family)


def color_order_of(purpose: Purpose, metadata: Mapping[str, str], families: Sequence[str] = FAMILY_NAMES) -> ColorOrder:
    """Find out which channel order an adapter expects.

    The published SDXL openpose adapters expect BGR; all others expect RGB. Only the names of those files tell them
    apart, so an adapter with another name is assumed to expect RGB.

    Args:
        purpose: What it was trained for.
        metadata: Text in its file.
        families: Families that its shapes fit.
    """
    stated = metadata.get(COLOR_ORDER_KEY)
    if stated is not None:
        return ColorOrder(stated == "bgr", METADATA)
    if SDXL not in families:
        return ColorOrder(False, SHAPES)
    if purpose.family not in (None, SDXL):
        return ColorOrder(False, purpose.family_from)
    if purpose.condition is None:
        return ColorOrder(False, "")
    bgr = purpose.family == SDXL and purpose.condition.name == "openpose"
    return ColorOrder(bgr, NAME if NAME in (purpose.condition_from, purpose.family_from) else purpose.condition_from)


def condition_of(name: str, metadata: Mapping[str, str]) -> Condition | None:
    """Return the condition named by the metadata, else by the published name, else None."""
    text = metadata.get(CONDITION_KEY, name).lower()
    words = set(re.split(r"[^a-z]+", re.sub(r"sd[0-9xl].*?(?=[-_.]|$)", " ", text)))
    exact = next((row for row in CONDITIONS if words & set(row.words) or text == row.name), None)
    return exact or next((row for row in CONDITIONS if any(word in text for word in row.words if len(word) > 3)), None)


def stated_family(name: str, metadata: Mapping[str, str]) -> str | None:
    """Return a family from the metadata, else from the published name, else None."""
    if FAMILY_KEY in metadata:
        return metadata[FAMILY_KEY]
    words = (*FAMILY_WORDS, *TOKEN_FAMILY_WORDS)
    return next((family for family, pattern in words if re.search(pattern, name.lower())), None)
