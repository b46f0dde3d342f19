"""Trees, houses, boats, clouds and people, each drawn in its own units: it stands at v = 0 and is about 1 high."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .canvas import Sprites
from .light import CLOTHES, NIGHT, ROOFS, SNOW, WALLS, WINDOW_DARK, WINDOW_LIT, WINTER, Light, crowns
from .shapes import box, capsule, disc, polygon, triangle_wave


@dataclass(frozen=True)
class Paints:
    """How light and air change colours, for N things.

    Attributes:
        light: season and hour of each.
        air: (N,) share of haze before it.
        gradient: strength of soft gradients, 0 to 1.
    """

    light: Light
    air: Tensor
    gradient: float

    def __call__(self, colour: Tensor | tuple[float, ...], shade: float = 0.0) -> Tensor:
        """Return a colour (N, 3) as it is seen; shade 0 is in the light, 1 away from it."""
        base = torch.as_tensor(colour, dtype=torch.float32, device=self.air.device)
        lit = self.light["lit"].lerp(self.light["shade"], shade)
        return (base * lit).lerp(self.light["haze"], self.air[:, None])

    def season(self, name: str, shade: float = 0.0) -> Tensor:
        """Return the season's colour of a thing as it is seen."""
        return self(self.light[name], shade)


PINE_BOX = (-0.34, -0.04, 0.34, 1.02)
ROUND_BOX = (-0.46, -0.04, 0.46, 1.02)
HOUSE_BOX = (-0.95, -0.06, 1.10, 1.20)
BOAT_BOX = (-0.62, -0.80, 0.62, 1.06)
PERSON_BOX = (-0.42, -0.05, 0.42, 1.20)
CLOUD_BOX = (-1.25, -0.15, 1.25, 0.75)


def pine(sprites: Sprites, paints: Paints) -> None:
    """Draw a pointed tree: three tiers, dark at one side, white on top in winter."""
    u, v = sprites.u, sprites.v
    sprites.stamp(box(u, v, (-0.05, -0.02), (0.05, 0.22)), paints.season("trunk", 0.5), "trunk")
    light, dark = paints.season("pine"), paints.season("pine", 0.75)
    winter = (paints.light.season == WINTER).float()[:, None, None]
    for top, bottom, half in ((0.66, 0.12, 0.31), (0.85, 0.36, 0.25), (1.0, 0.60, 0.18)):
        tier = torch.maximum((u.abs() - half * (top - v) / (top - bottom)) * 0.9, bottom + 0.10 * u.abs() - v)
        sprites.stamp(tier, light, "crown")
        sprites.stamp(torch.maximum(tier, -u + 0.25 * (v - bottom) - 0.06), dark, None)
        line = bottom + 0.40 * (top - bottom) + 0.03 * triangle_wave(u * 4.0)
        sprites.stamp(torch.maximum(tier, line - v), paints(SNOW), None, winter)
        sprites.stamp(torch.maximum(tier, torch.maximum(line - v, -u)), paints(SNOW, 0.6), None, winter)
    # Past so sharp a tip the tiers' distances are far too small: without this, the shadow has a spike.
    if sprites.near is not None:
        sprites.near = torch.maximum(sprites.near, (v - 1.0) * sprites.scale)


def round_tree(sprites: Sprites, paints: Paints, variant: Tensor) -> None:
    """Draw a round tree: a crown of discs with two lighter tones."""
    u, v = sprites.u, sprites.v
    trunk = paints.season("trunk", 0.2)
    sprites.stamp(capsule(u, v, (0.0, -0.03), (0.0, 0.5), (0.055, 0.045)), trunk, "trunk")
    crown = crowns(paints.light.season, variant)
    lobes = ((0.0, 0.64, 0.30), (-0.20, 0.54, 0.21), (0.21, 0.55, 0.20), (0.05, 0.79, 0.20))

    def union(right: float, up: float, share: float) -> Tensor:
        discs = [disc(u, v, (x + right, y + up), radius * share) for x, y, radius in lobes]
        return torch.stack(discs).amin(0)

    whole = union(0.0, 0.0, 1.0)
    sprites.stamp(whole, paints(crown * 0.92, 0.65), "crown")
    sprites.stamp(torch.maximum(whole, union(-0.05, 0.06, 0.96)), paints(crown), None)
    sprites.stamp(
        torch.maximum(whole, union(-0.10, 0.13, 0.70)), paints(crown.lerp(torch.ones_like(crown), 0.22)), None
    )


def house(sprites: Sprites, paints: Paints, colour: Tensor, flip: Tensor) -> None:
    """Draw a house from its corner: a gable in the light, a wall in the shade, a roof; lit windows in the dark."""
    sign = torch.where(flip, -1.0, 1.0)[:, None, None]
    u, v = sprites.u * sign, sprites.v
    wall = u.new_tensor(WALLS)[colour]
    roof = u.new_tensor(ROOFS)[colour]
    season = paints.light.season
    white = u.new_tensor(SNOW)
    top = torch.where((season == WINTER)[:, None], white, roof)
    sprites.stamp(box(u, v, (0.40, 0.72), (0.56, 1.12)), paints(roof, 0.7), "roof")
    side = polygon(u, v, ((-0.20, -0.03), (-0.20, 0.56), (0.82, 0.56), (0.82, -0.03)))
    sprites.stamp(side, paints(wall, 0.62), "side wall")
    gable = polygon(u, v, ((-0.72, -0.03), (-0.72, 0.52), (-0.40, 0.96), (-0.08, 0.52), (-0.08, -0.03)))
    sprites.stamp(gable, paints(wall), "wall")
    slope = polygon(u, v, ((-0.42, 1.0), (0.56, 1.0), (0.92, 0.47), (-0.05, 0.47)))
    sprites.stamp(slope, paints(top, 0.25), "roof")
    sprites.stamp(capsule(u, v, (-0.41, 0.97), (-0.82, 0.44), (0.045, 0.045)), paints(top, 0.05), "roof")
    sprites.stamp(capsule(u, v, (-0.41, 0.97), (-0.04, 0.48), (0.045, 0.045)), paints(top, 0.05), "roof")
    sprites.stamp(box(u, v, (-0.52, -0.03), (-0.28, 0.38)), paints((0.44, 0.27, 0.20), 0.15), "door")
    _windows(sprites, paints, u, v)


def _windows(sprites: Sprites, paints: Paints, u: Tensor, v: Tensor) -> None:
    hour = paints.light.hour
    lit = (hour == NIGHT)[:, None] | (hour == 2)[:, None]
    glass = torch.where(lit, u.new_tensor(WINDOW_LIT), paints(WINDOW_DARK))
    for left, bottom, right, top in ((0.06, 0.15, 0.30, 0.40), (0.48, 0.15, 0.72, 0.40)):
        sprites.stamp(box(u, v, (left, bottom), (right, top)), glass, "window")
    glow = torch.where(hour == NIGHT, 0.34, torch.where(hour == 2, 0.10, 0.0))[:, None, None]
    away = torch.minimum(disc(u, v, (0.38, 0.28), 0.0).square(), disc(u, v, (-0.40, 0.45), 0.0).square() * 1.6)
    fade = torch.exp(-away * 7.0) * glow * (1.0 - (away / 0.42).clamp(max=1.0))
    sprites.rgba[:, :3] += u.new_tensor(WINDOW_LIT)[:, None, None] * fade[:, None]


def boat(sprites: Sprites, paints: Paints, colour: Tensor, flip: Tensor) -> None:
    """Draw a sailing boat and, below the waterline, its reflection."""
    sign = torch.where(flip, -1.0, 1.0)[:, None, None]
    below = sprites.v < 0
    u, v = sprites.u * sign, torch.where(below, -sprites.v * 1.35, sprites.v)
    sail = u.new_tensor(((0.97, 0.95, 0.90), (0.88, 0.28, 0.22), (0.98, 0.78, 0.34)))[colour]
    mast = paints((0.36, 0.25, 0.22), 0.3)
    sprites.stamp(capsule(u, v, (0.0, 0.1), (0.0, 1.02), (0.026, 0.026)), mast, "hull")
    sprites.stamp(polygon(u, v, ((0.03, 0.24), (0.03, 1.0), (0.46, 0.24))), paints(sail), "sail")
    sprites.stamp(polygon(u, v, ((-0.36, 0.26), (-0.03, 0.88), (-0.03, 0.26))), paints(sail * 0.96, 0.45), "sail")
    hull = polygon(u, v, ((-0.40, 0.0), (-0.54, 0.18), (0.56, 0.18), (0.36, 0.0)))
    sprites.stamp(hull, paints((0.55, 0.26, 0.20), 0.1), "hull")
    sprites.stamp(torch.maximum(hull, 0.12 - v), paints((0.96, 0.93, 0.88)), None)
    broken = 0.42 * (0.75 + 0.25 * triangle_wave(sprites.v * 6.0)) * (1.0 + sprites.v * 1.2).clamp(0.0, 1.0)
    sprites.rgba.mul_(torch.where(below, broken, 1.0)[:, None])
    sprites.part = torch.where(below, sprites.part.new_tensor(-1), sprites.part)
    if sprites.near is not None:
        sprites.near = torch.where(below, 1e3, sprites.near)


def person(sprites: Sprites, paints: Paints, joints: Tensor, colour: Tensor) -> None:
    """Draw a person: joints (N, 18, 2) in OpenPose's order."""
    u, v = sprites.u, sprites.v

    def joint(number: int) -> tuple[Tensor, Tensor]:
        return joints[:, number, 0, None, None], joints[:, number, 1, None, None]

    coat = u.new_tensor(CLOTHES)[colour]
    skin, hair = paints((0.95, 0.75, 0.62)), paints((0.30, 0.20, 0.18))
    trousers = paints((0.24, 0.28, 0.42), 0.2)
    for hip, knee, ankle in ((8, 9, 10), (11, 12, 13)):
        sprites.stamp(capsule(u, v, joint(hip), joint(knee), (0.062, 0.046)), trousers, "legs")
        sprites.stamp(capsule(u, v, joint(knee), joint(ankle), (0.046, 0.034)), trousers, "legs")
        shoe = joint(ankle)
        sprites.stamp(capsule(u, v, shoe, (shoe[0], shoe[1] - 0.015), (0.042, 0.042)), hair, "legs")
    for shoulder, elbow, wrist in ((2, 3, 4), (5, 6, 7)):
        sprites.stamp(capsule(u, v, joint(shoulder), joint(elbow), (0.058, 0.050)), paints(coat, 0.35), "body")
        sprites.stamp(capsule(u, v, joint(elbow), joint(wrist), (0.050, 0.042)), paints(coat, 0.35), "body")
        sprites.stamp(disc(u, v, joint(wrist), 0.044), skin, "body")
    chest = polygon(u, v, ((-0.135, 0.40), (-0.105, 0.80), (0.105, 0.80), (0.135, 0.40))) - 0.012
    sprites.stamp(chest, paints(coat), "body")
    sprites.stamp(torch.maximum(chest, 0.02 - u), paints(coat, 0.45), None)
    head = joint(0)
    sprites.stamp(disc(u, v, head, 0.085), skin, "head")
    cap = torch.maximum(disc(u, v, (head[0], head[1] + 0.012), 0.095), head[1] + 0.018 - v)
    sprites.stamp(cap, hair, "head")


def cloud(sprites: Sprites, light: Light, lobes: Tensor, gradient: float) -> None:
    """Draw a cloud with a flat base from four lobes (N, 4) in [0, 1]."""
    u, v = sprites.u, sprites.v
    parts = [capsule(u, v, (-0.8, 0.1), (0.8, 0.1), (0.12, 0.12))]
    for number, place in enumerate((-0.45, -0.05, 0.32, 0.62)):
        radius = (0.16 + 0.20 * lobes[:, number] * (1.0 - abs(place)))[:, None, None]
        parts.append(disc(u, v, (place, 0.12 + radius * 0.4), radius))
    whole = torch.maximum(torch.stack(parts).amin(0), -v - 0.01)
    top, base = light["cloud"], light["cloud_base"]
    share = (v / 0.45).clamp(0.0, 1.0)[:, None] * gradient + (1.0 - gradient)
    colour = base[:, :, None, None].lerp(top[:, :, None, None], share)
    sprites.stamp(whole, colour, "cloud", 0.92)
