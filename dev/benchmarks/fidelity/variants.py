"""The table of variants to draw. Each is drawn once and can be in several groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WEIGHTS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
THIRDS = (("beginning", (0.0, 1 / 3)), ("middle", (1 / 3, 2 / 3)), ("end", (2 / 3, 1.0)))
ALL_LEVELS = (1.0, 1.0, 1.0, 1.0)
MINIATURE, SECOND = "miniature", "second"
# Starts: noise; the true picture with its right half inpainted; the true picture, only encoded and decoded.
Start = Literal["noise", "half", "truth"]


@dataclass(frozen=True)
class Use:
    """One adapter on the model.

    Attributes:
        adapter: ``sketch``, ``color`` or ``seg`` of the miniature, or the name of a recipe.
        strength: Its weight.
        levels: Factor of each level, fine to coarse.
        steps: Range of the sampling steps in which it acts, as fractions.
    """

    adapter: str
    strength: float = 1.0
    levels: tuple[float, ...] = ALL_LEVELS
    steps: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Variant:
    """One way to draw all scenes.

    Attributes:
        name: Name in the tables.
        uses: Its adapters.
        colours: True if the prompts contain their colour words.
        model: The checkpoint.
        start: What sampling starts from.
    """

    name: str
    uses: tuple[Use, ...] = ()
    colours: bool = True
    model: str = MINIATURE
    start: Start = "noise"


def _alone() -> list[Variant]:
    bare = [
        Variant("VAE round trip", start="truth"),
        Variant("no adapter"),
        Variant("no adapter, no colour words", colours=False),
    ]
    return bare + [
        Variant(f"{kind} {weight:g}", (Use(kind, weight),), colours=kind != "color")
        for kind in ("sketch", "color", "seg")
        for weight in WEIGHTS
    ]


def _together() -> list[Variant]:
    pairs = ((1.0, 1.0), (1.0, 0.5), (0.5, 1.0), (0.5, 0.5))
    both = [
        Variant(f"sketch {first:g} + color {second:g}", (Use("sketch", first), Use("color", second)), colours=False)
        for first, second in pairs
    ]
    return [Variant("sketch 1, no colour words", (Use("sketch"),), colours=False), *both]


def _levels() -> list[Variant]:
    only = [tuple(float(place == level) for place in range(4)) for level in range(4)]
    first = [tuple(float(place <= level) for place in range(4)) for level in (1, 2)]
    names = [f"level {number} only" for number in (1, 2, 3, 4)] + [f"levels 1 to {number}" for number in (2, 3)]
    return [Variant(name, (Use("sketch", levels=levels),)) for name, levels in zip(names, [*only, *first], strict=True)]


def _times() -> list[Variant]:
    return [
        Variant(f"{kind}, {name} third", (Use(kind, steps=steps),), colours=kind != "color")
        for kind in ("sketch", "color")
        for name, steps in THIRDS
    ]


def _trained() -> list[Variant]:
    sketches = ("sketch-base", "sketch-small", "sketch-tiny", "sketch-decoder", "sketch-both")
    colours = ("color-cubic", "color-uniform", "color-late")
    return [Variant(name, (Use(name),)) for name in sketches] + [
        Variant(name, (Use(name),), colours=False) for name in colours
    ]


def _second() -> list[Variant]:
    kinds = ("sketch", "color", "seg")
    return [
        Variant("second UNet, no adapter", model=SECOND),
        Variant("second UNet, no adapter, no colour words", colours=False, model=SECOND),
        *(Variant(f"second UNet, {kind} 1", (Use(kind),), colours=kind != "color", model=SECOND) for kind in kinds),
    ]


def _inpainting() -> list[Variant]:
    return [
        Variant("inpainting, no adapter", start="half"),
        Variant("inpainting, sketch 1", (Use("sketch"),), start="half"),
    ]


VARIANTS = (*_alone(), *_together(), *_levels(), *_times(), *_trained(), *_second(), *_inpainting())


def variant_named(name: str) -> Variant:
    """Return a row by name.

    Raises:
        KeyError: The name is unknown.
    """
    return {row.name: row for row in VARIANTS}[name]
