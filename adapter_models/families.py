"""Where an adapter's features enter a UNet: the table of families, matched by structure, never by width."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from .errors import FamilyMismatchError
from .networks import AdapterConfig

BlockKind = Literal["input", "middle"]


@dataclass(frozen=True)
class Block:
    """One block of a UNet's encoder, or its middle block.

    Attributes:
        kind: ``input`` or ``middle``.
        index: Number of the input block; 0 for the middle.
        channels: Width of its output.
        stride: Size of one cell of its output, in pixels.
        shrinks: The block halves the size.
        computes: False for the middle of a UNet that has none (its "output" is the last input block's own tensor).
    """

    kind: BlockKind
    index: int
    channels: int
    stride: int
    shrinks: bool = False
    computes: bool = True


@dataclass(frozen=True)
class UNetOutline:
    """The facts about a UNet that families need.

    Attributes:
        name: What the host calls this model, for messages.
        blocks: The input blocks in order, then the middle.
    """

    name: str
    blocks: tuple[Block, ...]

    @property
    def levels(self) -> tuple[Block, ...]:
        """The last block of each resolution, fine to coarse."""
        inputs = [block for block in self.blocks if block.kind == "input"]
        ends = [before for before, after in pairwise(inputs) if after.shrinks]
        return (*ends, inputs[-1])


@dataclass(frozen=True)
class SiteRule:
    """How a family finds one of its sites in a UNet.

    Attributes:
        where: ``end`` of a level, ``down`` (the block that shrinks into a level), or ``middle``.
        level: Number of the level; unused for the middle.
    """

    where: Literal["end", "down", "middle"]
    level: int = 0

    def find(self, outline: UNetOutline) -> Block:
        """Return the block of this UNet."""
        if self.where == "middle":
            return outline.blocks[-1]
        if self.where == "end":
            return outline.levels[self.level]
        return [block for block in outline.blocks if block.shrinks][self.level - 1]


@dataclass(frozen=True)
class Family:
    """UNets of one shape, and the sites of an adapter's levels in them.

    Attributes:
        name: Its name in messages.
        unet_levels: Number of resolutions of the UNet.
        sites: One rule per level of the adapter, fine to coarse.
    """

    name: str
    unet_levels: int
    sites: tuple[SiteRule, ...]


def _ends(count: int) -> tuple[SiteRule, ...]:
    return tuple(SiteRule("end", level) for level in range(count))


# Source: TencentARC/T2I-Adapter, UNet forward of the branches SD and main.
FAMILIES = (
    Family("SD1.x / SD2.x", 4, _ends(4)),
    Family("SD1.x / SD2.x, three levels", 4, _ends(3)),
    Family("SDXL", 3, (SiteRule("down", 1), SiteRule("end", 1), SiteRule("end", 2), SiteRule("middle"))),
    Family("SDXL, three levels", 3, _ends(3)),
)


def sites_for(where: str, config: AdapterConfig, outline: UNetOutline) -> tuple[Block, ...]:
    """Find the block of a UNet that each level of an adapter is added to.

    Args:
        where: The adapter, for messages.
        config: Its shape.
        outline: The UNet.

    Returns:
        One block per level, fine to coarse, with equal channels and strides.

    Raises:
        FamilyMismatchError: The adapter was made for another UNet.
    """
    rows = [row for row in FAMILIES if row.unet_levels == len(outline.levels)]
    for row in rows:
        if len(row.sites) == len(config.channels):
            sites = tuple(rule.find(outline) for rule in row.sites)
            if [(site.channels, site.stride) for site in sites] == list(_outputs(config)):
                return sites
    wanted = "; or ".join(_in_words([(b.channels, b.stride) for b in (rule.find(outline) for rule in row.sites)])
                          for row in rows) or "a UNet of three or four resolutions"  # fmt: skip
    raise FamilyMismatchError(
        where,
        f"an adapter with {_in_words(list(_outputs(config)))}, as made for {shape_family(config)}",
        f"{wanted}, as the MODEL {outline.name} takes",
        f"Load a checkpoint that the adapter was made for, or an adapter made for {outline.name}.",
    )


def shape_family(config: AdapterConfig) -> str:
    """Name the family an adapter is made for, from its strides alone."""
    known = {(8, 16, 32, 64): "SD1.x / SD2.x", (16, 16, 32, 32): "SDXL", (8, 16, 32): "SD1.x / SD2.x or SDXL"}
    return known.get(config.strides, "no known UNet")


def _outputs(config: AdapterConfig) -> tuple[tuple[int, int], ...]:
    return tuple(zip(config.channels, config.strides, strict=True))


def _in_words(outputs: list[tuple[int, int]]) -> str:
    return "channels " + ", ".join(f"{channels} (1/{stride})" for channels, stride in outputs)
