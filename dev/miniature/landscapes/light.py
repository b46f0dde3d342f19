"""Colours by season, hour and style: palettes chosen by eye, and how light and air change them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .dice import Dice

SEASONS = ("spring", "summer", "autumn", "winter")
HOURS = ("dawn", "day", "sunset", "night")
SPRING, SUMMER, AUTUMN, WINTER = range(4)
DAWN, DAY, SUNSET, NIGHT = range(4)

# Of each hour: the sky at the zenith, half-way and at the horizon; the haze that far things fade into; the light that
# falls on things; the sun or moon; its glow; clouds; water.
_HOURS = {
    "zenith": ((0.40, 0.50, 0.74), (0.22, 0.55, 0.85), (0.24, 0.20, 0.46), (0.03, 0.05, 0.17)),
    "middle": ((0.83, 0.68, 0.78), (0.52, 0.77, 0.93), (0.80, 0.38, 0.46), (0.08, 0.13, 0.32)),
    "low": ((1.00, 0.86, 0.70), (0.87, 0.95, 0.95), (1.00, 0.74, 0.40), (0.24, 0.34, 0.54)),
    "haze": ((0.96, 0.80, 0.78), (0.80, 0.91, 0.96), (0.98, 0.60, 0.46), (0.17, 0.25, 0.44)),
    "lit": ((1.00, 0.87, 0.85), (1.00, 1.00, 0.98), (1.00, 0.74, 0.60), (0.40, 0.49, 0.74)),
    "shade": ((0.66, 0.59, 0.74), (0.70, 0.76, 0.86), (0.58, 0.40, 0.50), (0.25, 0.33, 0.58)),
    "orb": ((1.00, 0.95, 0.82), (1.00, 0.96, 0.78), (1.00, 0.93, 0.70), (0.96, 0.96, 0.88)),
    "glow": ((0.40, 0.26, 0.14), (0.16, 0.14, 0.06), (0.46, 0.24, 0.02), (0.16, 0.19, 0.22)),
    "cloud": ((1.00, 0.90, 0.87), (1.00, 1.00, 1.00), (1.00, 0.70, 0.58), (0.22, 0.29, 0.48)),
    "cloud_base": ((0.88, 0.72, 0.80), (0.84, 0.92, 0.97), (0.74, 0.40, 0.50), (0.13, 0.19, 0.37)),
    "water": ((0.58, 0.62, 0.78), (0.20, 0.56, 0.76), (0.42, 0.28, 0.50), (0.05, 0.11, 0.28)),
}
# Of each season: things in full light.
_SEASONS = {
    "far_rock": ((0.45, 0.50, 0.68), (0.40, 0.52, 0.70), (0.50, 0.45, 0.60), (0.56, 0.64, 0.78)),
    "rock": ((0.36, 0.44, 0.58), (0.28, 0.42, 0.56), (0.46, 0.38, 0.46), (0.44, 0.54, 0.70)),
    "hill": ((0.40, 0.66, 0.48), (0.22, 0.54, 0.42), (0.78, 0.50, 0.24), (0.74, 0.83, 0.92)),
    "forest": ((0.22, 0.50, 0.40), (0.10, 0.40, 0.34), (0.62, 0.32, 0.16), (0.30, 0.46, 0.52)),
    "field": ((0.60, 0.80, 0.42), (0.42, 0.70, 0.32), (0.90, 0.68, 0.30), (0.88, 0.93, 0.98)),
    "meadow": ((0.40, 0.69, 0.36), (0.22, 0.56, 0.28), (0.78, 0.52, 0.20), (0.96, 0.98, 1.00)),
    "road": ((0.90, 0.80, 0.62), (0.92, 0.83, 0.62), (0.94, 0.82, 0.62), (0.72, 0.78, 0.86)),
    "pine": ((0.13, 0.43, 0.35), (0.08, 0.37, 0.29), (0.17, 0.37, 0.30), (0.17, 0.38, 0.40)),
    "trunk": ((0.42, 0.28, 0.22), (0.40, 0.26, 0.20), (0.38, 0.24, 0.20), (0.36, 0.29, 0.29)),
}
SKY = 4  # the first rows of `_HOURS` are parts of the sky
_TINTS = ((0.015, 0.0, 0.01), (0.0, 0.01, 0.02), (0.045, 0.01, -0.04), (-0.01, 0.005, 0.025))
NAMES = (*_HOURS, *_SEASONS)
SNOW = (0.97, 0.98, 1.00)
# Three crowns of each season.
_CROWNS = (
    ((0.97, 0.66, 0.76), (0.99, 0.82, 0.87), (0.62, 0.82, 0.36)),
    ((0.25, 0.58, 0.26), (0.40, 0.68, 0.28), (0.16, 0.48, 0.32)),
    ((0.86, 0.30, 0.16), (0.95, 0.56, 0.16), (0.97, 0.76, 0.26)),
    ((0.80, 0.88, 0.95), (0.72, 0.82, 0.92), (0.86, 0.92, 0.97)),
)
COLOURS = ("red", "white", "yellow", "blue", "brown")
WALLS = ((0.82, 0.24, 0.20), (0.96, 0.94, 0.90), (0.97, 0.78, 0.34), (0.30, 0.52, 0.76), (0.58, 0.38, 0.26))
ROOFS = ((0.34, 0.24, 0.28), (0.74, 0.30, 0.24), (0.52, 0.28, 0.24), (0.24, 0.28, 0.40), (0.34, 0.26, 0.26))
CLOTHES = ((0.86, 0.22, 0.20), (0.96, 0.94, 0.90), (0.98, 0.76, 0.22), (0.18, 0.42, 0.74), (0.52, 0.34, 0.24))
WINDOW_LIT = (1.0, 0.83, 0.42)
WINDOW_DARK = (0.42, 0.58, 0.70)


@dataclass(frozen=True)
class Style:
    """A way to paint: how dark the shadow of a layer on what lies behind, how wide it is, how much air there is."""

    name: str
    shadow: float
    reach: float
    air: float
    gradient: float


FLAT = Style("flat", 0.0, 0.0, 1.0, 1.0)
PAPER = Style("paper", 0.42, 0.022, 1.25, 0.25)
STYLES = {style.name: style for style in (FLAT, PAPER)}


@dataclass(frozen=True)
class Light:
    """Season and hour of B scenes, and the colours that follow.

    Attributes:
        season, hour: (B,) long, rows of `SEASONS` and `HOURS`.
        colours: (B, N, 3), in the order of `NAMES`.
    """

    season: Tensor
    hour: Tensor
    colours: Tensor

    def __getitem__(self, name: str) -> Tensor:
        """Return a colour by its name (B, 3)."""
        return self.colours[:, NAMES.index(name)]

    def pick(self, row: Tensor) -> Light:
        """Return the light of some scenes."""
        return Light(self.season[row], self.hour[row], self.colours[row])

    @classmethod
    def of(cls, season: Tensor, hour: Tensor, warmth: Tensor) -> Light:
        """Mix the colours.

        Args:
            season, hour: (B,) long.
            warmth: (B,) a small shift, to red above zero and to blue below.
        """
        shift = (warmth[:, None] * warmth.new_tensor((1.0, 0.2, -1.0)))[:, None]
        hours = warmth.new_tensor(list(_HOURS.values())).transpose(0, 1)[hour] + 0.5 * shift
        seasons = warmth.new_tensor(list(_SEASONS.values())).transpose(0, 1)[season] + shift
        # The sky takes a little of the season's tint.
        hours[:, :SKY] += warmth.new_tensor(_TINTS)[season][:, None] * hours[:, :SKY].mean(2, keepdim=True)
        # Snow throws the sky's own light back, so that winter's light is paler.
        snowy = 0.5 * ((season == WINTER) & (hour != NIGHT)).float()[:, None]
        lit = NAMES.index("lit")
        hours[:, lit] = hours[:, lit].lerp(warmth.new_tensor((0.93, 0.88, 0.95)), snowy)
        return cls(season, hour, torch.cat((hours, seasons), dim=1).clamp(0.0, 1.0))


def crowns(season: Tensor, variant: Tensor) -> Tensor:
    """Return crown colours (..., 3) for seasons and variants 0 to 2 of one shape."""
    return season.new_tensor(_CROWNS, dtype=torch.float32)[season, variant]


def draw_light(dice: Dice, season: int | Tensor | None, hour: int | Tensor | None) -> Light:
    """Choose season and hour, unless given."""
    seasons, hours = dice.choice((1, 1, 1, 1))[:, 0], dice.choice((0.8, 1.2, 1.2, 1))[:, 0]
    if season is not None:
        seasons = torch.zeros_like(seasons) + season
    if hour is not None:
        hours = torch.zeros_like(hours) + hour
    return Light.of(seasons, hours, dice.one(-0.025, 0.025))
