"""Where an adapter's features enter a model: the table of families, matched by structure, never by width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from .config import AdapterConfig
from .errors import FamilyMismatchError

# ``tokens`` and ``block`` are blocks of transformers: those that take residuals from ComfyUI's ``control``, and those
# whose output a patch changes.
BlockPart = Literal["input", "middle", "tokens", "block"]


@dataclass(frozen=True)
class UNetBlock:
    """One block of a UNet's encoder, its middle block, or a block of a transformer.

    Attributes:
        part: See :data:`BlockPart`.
        index: Number of the block in its part; 0 for the middle.
        channels: Width of its output.
        stride: Size of one cell of its output, in pixels.
        shrinks: The block halves the size.
        computes: False for the middle of a UNet that has none (its "output" is the last input block's own tensor).
    """

    part: BlockPart
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
    blocks: tuple[UNetBlock, ...]

    @property
    def levels(self) -> tuple[UNetBlock, ...]:
        """The last block of each resolution, fine to coarse."""
        inputs = [block for block in self.blocks if block.part == "input"]
        ends = [before for before, after in pairwise(inputs) if after.shrinks]
        return (*ends, inputs[-1])


@dataclass(frozen=True)
class TokenOutline:
    """The facts about a transformer on image tokens (DiT) that adapters need.

    Attributes:
        name: What the host calls this model, for messages.
        family: Its family, such as ``Flux``; adapters store it, because two families can have the same width.
        count: Number of the blocks that are counted for sites.
        channels: Width of a token.
        stride: Size of a token in pixels.
        part: How its blocks take residuals, ``tokens`` or ``block``.
    """

    name: str
    family: str
    count: int
    channels: int
    stride: int
    part: BlockPart

    @property
    def sites(self) -> tuple[UNetBlock, ...]:
        """The blocks that the levels of an adapter are added after: spread evenly over the first half."""
        # Rounded half up; Python rounds halves to even numbers.
        places = (int(level * self.count / (2 * TOKEN_LEVELS) + 0.5) for level in range(TOKEN_LEVELS))
        return tuple(UNetBlock(self.part, place, self.channels, self.stride) for place in places)


Outline = UNetOutline | TokenOutline


@dataclass(frozen=True)
class SiteRule:
    """How a family finds one of its sites in a UNet.

    Attributes:
        where: ``end`` of a level, ``down`` (the block that shrinks into a level), or ``middle``.
        level: Number of the level; unused for the middle.
    """

    where: Literal["end", "down", "middle"]
    level: int = 0

    def find(self, outline: UNetOutline) -> UNetBlock:
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


UNKNOWN = "no known UNet"
TOKEN_LEVELS = 4
# Source: TencentARC/T2I-Adapter, UNet forward of the branches SD and main.
FAMILIES = (
    Family("SD1.x / SD2.x", 4, _ends(4)),
    Family("SD1.x / SD2.x, three levels", 4, _ends(3)),
    Family("SDXL", 3, (SiteRule("down", 1), SiteRule("end", 1), SiteRule("end", 2), SiteRule("middle"))),
    Family("SDXL, three levels", 3, _ends(3)),
)


def sites_for(where: str, config: AdapterConfig, outline: Outline, family: str | None = None) -> tuple[UNetBlock, ...]:
    """Find the block of a model that each level of an adapter is added to.

    Args:
        where: The adapter, for messages.
        config: Its shape.
        outline: The model.
        family: The adapter's family, if its file states one; it matters for transformers alone.

    Returns:
        One block per level, fine to coarse, with equal channels and strides.

    Raises:
        FamilyMismatchError: The adapter was made for another model.
    """
    if isinstance(outline, TokenOutline):
        return _token_sites(where, config, outline, family)
    rows = [row for row in FAMILIES if row.unet_levels == len(outline.levels)]
    for row in rows:
        if len(row.sites) == len(config.channels):
            sites = tuple(rule.find(outline) for rule in row.sites)
            if [(site.channels, site.stride) for site in sites] == list(_outputs(config)):
                return sites
    wanted = "; or ".join(_in_words([(b.channels, b.stride) for b in (rule.find(outline) for rule in row.sites)])
                          for row in rows) or "a UNet of three or four resolutions"  # fmt: skip
    made_for = family_by_strides(config)
    raise FamilyMismatchError(
        where,
        f"an adapter with {_in_words(list(_outputs(config)))}, as made for {made_for}",
        f"{wanted}, as the MODEL {outline.name} takes",
        f"Load a checkpoint that the adapter was made for, or an adapter made for {outline.name}.",
        says=_in_a_sentence(config, outline, rows),
    )


def _token_sites(where: str, config: AdapterConfig, outline: TokenOutline, family: str | None) -> tuple[UNetBlock, ...]:
    sites, made_for = outline.sites, family or family_by_strides(config)
    fits = _outputs(config) == tuple((site.channels, site.stride) for site in sites)
    if fits and family in (None, outline.family):
        return sites
    raise FamilyMismatchError(
        where,
        f"an adapter with {_in_words(list(_outputs(config)))}, as made for {made_for}",
        f"{_in_words([(site.channels, site.stride) for site in sites])}, as the MODEL {outline.name} takes, and made "
        f"for {outline.family}",
        f"Load a model that the adapter was made for, or train one for {outline.family}.",
        says=f"This adapter is for {made_for}, and the model is {outline.family}.",
    )


def _in_a_sentence(config: AdapterConfig, outline: UNetOutline, rows: Sequence[Family]) -> str:
    """Say why an adapter does not fit a UNet: another family, or other widths in a UNet of the same strides."""
    model, made_for = outline.name.partition(" (")[0], family_by_strides(config)
    if made_for == UNKNOWN:
        return "This adapter fits no known diffusion model."
    if any(tuple(rule.find(outline).stride for rule in row.sites) == config.strides for row in rows):
        return f"The channels of this adapter do not fit the model, {model}."
    return f"This adapter is for {made_for}, and the model is {model}."


def family_by_strides(config: AdapterConfig) -> str:
    """Name the family an adapter is made for, from its strides alone."""
    if takes_tokens(config):
        return f"transformers with tokens of {config.channels[0]} numbers"
    known = {(8, 16, 32, 64): "SD1.x / SD2.x", (16, 16, 32, 32): "SDXL", (8, 16, 32): "SD1.x / SD2.x or SDXL"}
    return known.get(config.strides, UNKNOWN)


def takes_tokens(config: AdapterConfig) -> bool:
    """Tell whether an adapter is made for transformers: all levels have one stride and one width."""
    return len(config.channels) > 1 and len(set(_outputs(config))) == 1


def _outputs(config: AdapterConfig) -> tuple[tuple[int, int], ...]:
    return tuple(zip(config.channels, config.strides, strict=True))


def _in_words(outputs: list[tuple[int, int]]) -> str:
    return "channels " + ", ".join(f"{channels} (1/{stride})" for channels, stride in outputs)
