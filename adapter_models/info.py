"""The facts about an adapter, each with its source: decided once at load, and asked by everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .conditions import (
    COLOR_ORDER_KEY,
    CONFIG,
    FAMILY_NAMES,
    METADATA,
    SDXL,
    SHAPES,
    TOKEN_FAMILY_NAMES,
    ColorOrder,
    Condition,
    color_order_of,
    purpose_of,
)
from .config import AdapterConfig
from .families import family_by_strides, takes_tokens
from .shapes import INPUT_LAYOUTS

# Sources besides those of :mod:`.conditions`.
TENSOR_NAMES = "the names of its weights"
TRAINING_SETTINGS = "the training settings"
TRAINED_MODEL = "the model it is trained on"


@dataclass(frozen=True)
class AdapterInfo:
    """Facts about an adapter, for decisions, messages and displays.

    Sources are texts such as "the file's metadata"; see :mod:`.conditions`. An empty source means that the fact is
    assumed or unknown.

    Attributes:
        name: How the user names it.
        path: The weights file.
        layout: Layout of the names, such as ``diffusers``.
        container: ``safetensors`` or ``pickle``.
        dtype: Precision of the weights, such as ``float32``; several, if the file mixes them.
        parameters: Number of weights.
        condition: What it was trained for, or None if unknown.
        family: ``SD1.x``, ``SD2.x``, ``SDXL`` or a family of transformers such as ``Flux``; None if unknown.
        metadata: Text in the file.
        condition_from: Source of the condition.
        family_from: Source of the family.
        color_order: Channel order that it expects, with its source.
        layout_from: Source of the layout.
        image_channels: Channels of its condition image.
        channels_from: Source of the channels.
        fits: The families that its shape fits, in words; its weights tell.
    """

    name: str
    path: Path
    layout: str
    container: str
    dtype: str
    parameters: int
    condition: Condition | None
    family: str | None
    metadata: Mapping[str, str]
    condition_from: str = ""
    family_from: str = ""
    color_order: ColorOrder = field(default_factory=ColorOrder)
    layout_from: str = ""
    image_channels: int = 3
    channels_from: str = ""
    fits: str = ""

    @property
    def bgr(self) -> bool:
        """Whether it expects red and blue swapped."""
        return self.color_order.bgr

    @property
    def made_for(self) -> str | None:
        """The family, if it is certain; a file's name is not."""
        return self.family if self.family_from in (SHAPES, METADATA, TRAINED_MODEL) else None

    @property
    def takes_colors(self) -> bool:
        """Whether its condition image has colours."""
        return self.image_channels > 1

    def for_condition(self, condition: Condition, source: str) -> AdapterInfo:
        """Return the facts with another condition."""
        return replace(self, condition=condition, condition_from=source)

    def for_family(self, family: str, source: str) -> AdapterInfo:
        """Return the facts with another family."""
        return replace(self, family=family, family_from=source)

    def with_order(self, *, bgr: bool) -> AdapterInfo:
        """Return the facts with a colour order that its metadata states."""
        metadata = {**self.metadata, COLOR_ORDER_KEY: "bgr" if bgr else "rgb"}
        return replace(self, metadata=metadata, color_order=ColorOrder(bgr, METADATA))


@dataclass(frozen=True)
class FileFacts:
    """What a weights file says, as far as it decides what the adapter is for.

    Attributes:
        name: How the user names it.
        path: The weights file.
        container: ``safetensors`` or ``pickle``.
        layout: Layout of the names of its weights.
        member: Its entry in a CoAdapter bundle, or None.
        config: The diffusers config beside it, or empty.
        metadata: Text in the file.
        dtypes: Precisions of its weights.
        parameters: Number of weights.
    """

    name: str
    path: Path
    container: str
    layout: str
    member: str | None
    config: Mapping[str, object]
    metadata: Mapping[str, str]
    dtypes: frozenset[str]
    parameters: int


def info_from_file(facts: FileFacts, config: AdapterConfig) -> AdapterInfo:
    """Decide what a loaded adapter is.

    Args:
        facts: What its file says.
        config: The shape of its network.
    """
    families = fitting_families(config)
    # Only a config.json tells the channels of an adapter whose cells are not of 8 or 16 pixels.
    shapes_tell = (config.in_channels, config.unshuffle) in {(row.in_channels, row.unshuffle) for row in INPUT_LAYOUTS}
    purpose = purpose_of(facts.name, facts.member, facts.config, facts.metadata, families)
    return AdapterInfo(
        name=facts.name,
        path=facts.path,
        layout=facts.layout,
        container=facts.container,
        dtype=", ".join(sorted(facts.dtypes)),
        parameters=facts.parameters,
        condition=purpose.condition,
        family=purpose.family,
        metadata=facts.metadata,
        condition_from=purpose.condition_from,
        family_from=purpose.family_from,
        color_order=color_order_of(purpose, facts.metadata, families),
        layout_from=TENSOR_NAMES,
        image_channels=config.image_channels,
        channels_from=SHAPES if shapes_tell else CONFIG,
        fits=family_by_strides(config),
    )


def info_for_training(
    config: AdapterConfig, condition: Condition | None, version: str | None, parameters: int
) -> AdapterInfo:
    """Decide what a new adapter is.

    Args:
        config: The shape of its network.
        condition: What it is trained for, or None for something unnamed.
        version: ``SD1.x``, ``SD2.x`` or a family of transformers, as the model tells; its shape tells SDXL.
        parameters: Number of weights.
    """
    families = fitting_families(config)
    told = SHAPES if len(families) == 1 else TRAINED_MODEL if version else ""
    info = AdapterInfo(
        name="a new adapter",
        path=Path(),
        layout="not saved yet",
        container="in memory",
        dtype="float32",
        parameters=parameters,
        condition=condition,
        family=families[0] if len(families) == 1 else version,
        metadata={},
        condition_from=TRAINING_SETTINGS if condition else "",
        family_from=told,
        image_channels=config.image_channels,
        channels_from=TRAINING_SETTINGS,
        fits=family_by_strides(config),
    )
    # State RGB: a pose adapter for SDXL without metadata is taken for a published one, which takes BGR.
    return info.with_order(bgr=False)


def fitting_families(config: AdapterConfig) -> tuple[str, ...]:
    """Return the families that an adapter's shape fits; all of them for an unknown shape."""
    if takes_tokens(config):
        return TOKEN_FAMILY_NAMES
    if config.strides[:2] == (16, 16):
        return (SDXL,)
    return tuple(name for name in FAMILY_NAMES if name in family_by_strides(config)) or FAMILY_NAMES
