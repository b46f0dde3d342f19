"""What a landscape is made of, drawn from its seed. Lengths are shares of the picture's side, y downwards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .dice import Dice
from .figures import Figure, draw_figure
from .light import DAY, NIGHT, SPRING, SUMMER, Light, draw_light

NO_WATER, LAKE, SEA = range(3)
NONE, PINE, ROUND, HOUSE = range(4)
FAR, MIDDLE, NEAR = range(3)
SLOTS = (2, 2, 1)  # objects on the far shore, the middle ground and the near ground
PLACE = tuple(place for place, count in enumerate(SLOTS) for _ in range(count))
PEAKS = 3
CLOUDS = 2
LOBES = 4
STARS = 6
FLOWERS = 6
TREES = 24  # of a forest's edge
HELD_OUT = 1 << 31  # first seed never used in training; training seeds stay below


@dataclass(frozen=True)
class Sky:
    """Sun or moon (B,), clouds (B, 2) with their lobes (B, 2, 4), stars (B, 6)."""

    orb_x: Tensor
    orb_y: Tensor
    orb_radius: Tensor
    crescent: Tensor
    cloud_there: Tensor
    cloud_x: Tensor
    cloud_y: Tensor
    cloud_size: Tensor
    lobes: Tensor
    star_x: Tensor
    star_y: Tensor
    star_size: Tensor


@dataclass(frozen=True)
class Mountains:
    """Two planes, far first: whether there (B, 2), peaks (B, 2, 3), rough edges (B, 2, 3), snow above (B, 2)."""

    there: Tensor
    x: Tensor
    y: Tensor
    left: Tensor
    right: Tensor
    phase: Tensor
    snow: Tensor


@dataclass(frozen=True)
class Ground:
    """Hills behind the water, middle ground, near ground: level and waves (B, 3), a forest's edge, the road (B,)."""

    level: Tensor
    tilt: Tensor
    swing: Tensor
    phase: Tensor
    forest: Tensor
    treetops: Tensor
    road: Tensor
    road_x: Tensor
    road_bend: Tensor
    road_phase: Tensor
    flowers: Tensor
    flower_x: Tensor
    flower_y: Tensor

    def profile(self, plane: int, x: Tensor) -> Tensor:
        """Return the height of the edge of a plane, 0 the hills to 2 the near ground, at x (B, N); (B, N)."""
        take = slice(plane, plane + 1)
        wave = torch.sin(6.2832 * (x * (0.9 + 0.35 * plane) + self.phase[:, take]))
        fine = torch.sin(6.2832 * (x * 2.3 + self.phase[:, take] * 3.7))
        slope = self.tilt[:, take] * (x - 0.5)
        return self.level[:, take] + slope + self.swing[:, take] * (wave + 0.3 * fine)


@dataclass(frozen=True)
class Objects:
    """Trees and houses in 5 slots, far to near (see `PLACE`); each (B, 5). Kind 0 is nothing; colour is a row of
    `light.COLOURS` for houses, and of the season's crowns (modulo 3) for round trees."""

    kind: Tensor
    x: Tensor
    base: Tensor
    size: Tensor
    flip: Tensor
    colour: Tensor


@dataclass(frozen=True)
class Boat:
    """A sailing boat: there, x, waterline, size, direction, colour of the sail; each (B,)."""

    there: Tensor
    x: Tensor
    y: Tensor
    size: Tensor
    flip: Tensor
    colour: Tensor


@dataclass(frozen=True)
class Scenes:
    """B landscapes."""

    seed: Tensor
    light: Light
    sky: Sky
    mountains: Mountains
    horizon: Tensor
    water: Tensor
    ground: Ground
    objects: Objects
    boat: Boat
    person: Figure

    def __len__(self) -> int:
        return self.seed.shape[0]


def draw_scenes(seed: Tensor, season: int | Tensor | None = None, hour: int | Tensor | None = None) -> Scenes:
    """Make one landscape per seed.

    Args:
        seed: (B,) long, 0 to 2**32 - 1; from `HELD_OUT` up for scenes that no model has seen.
        season: row of `SEASONS`, one for all or (B,) long; None as the seed has it. Shapes stay the same.
        hour: row of `HOURS`, in the same way.

    Returns:
        B landscapes on the seed's device.
    """
    light = draw_light(Dice(seed, 0), season, hour)
    dice = Dice(seed, 1)
    horizon = dice.one(0.44, 0.62)
    water = dice.choice((0.34, 0.42, 0.24))[:, 0]
    mountains = _mountains(Dice(seed, 2), horizon, water)
    ground = _ground(Dice(seed, 3), horizon, water, light)
    sky = _sky(Dice(seed, 4), horizon, light)
    objects = _objects(Dice(seed, 5), ground, horizon, water)
    boat = _boat(Dice(seed, 6), ground, horizon, water)
    person = draw_figure(Dice(seed, 7))
    base = ground.profile(2, person.x[:, None])[:, 0].clamp(max=0.90) + dice.one(0.03, 0.08)
    person = person.standing_at(base)
    return Scenes(seed, light, sky, mountains, horizon, water, ground, objects, boat, person)


def _sky(dice: Dice, horizon: Tensor, light: Light) -> Sky:
    # At sunset and dawn the sun is low, else anywhere.
    low = (light.hour != DAY) & (light.hour != NIGHT)
    height = dice.one()
    orb_y = torch.where(low, horizon * (0.45 + 0.50 * height), horizon * (0.15 + 0.40 * height))
    orb_x = dice.one(0.12, 0.88)
    radius = dice.one(0.075, 0.11)
    there = dice.uniform(CLOUDS) < 0.5
    cloud_x = dice.uniform(CLOUDS, -0.05, 1.05)
    cloud_y = horizon[:, None] * dice.uniform(CLOUDS, 0.15, 0.60)
    size = dice.uniform(CLOUDS, 0.19, 0.30)
    lobes = dice.uniform(CLOUDS * LOBES).view(-1, CLOUDS, LOBES)
    star_x, star_y = dice.uniform(STARS), horizon[:, None] * dice.uniform(STARS, 0.04, 0.80)
    star_size = dice.uniform(STARS, 0.010, 0.015)
    # None stands in the gap of a crescent.
    off = torch.hypot(star_x - orb_x[:, None], star_y - orb_y[:, None]) > 1.4 * radius[:, None]
    star_size = torch.where(off, star_size, -1.0)
    crescent = dice.chance(0.5)
    return Sky(orb_x, orb_y, radius, crescent, there, cloud_x, cloud_y, size, lobes, star_x, star_y, star_size)


def _mountains(dice: Dice, horizon: Tensor, water: Tensor) -> Mountains:
    number = dice.choice((0.14, 0.52, 0.34))[:, 0]
    number = torch.where((water == SEA) & dice.chance(0.45), 0, number)
    there = torch.stack((number >= 1, number >= 2), dim=1)
    stratum = (torch.arange(PEAKS, device=horizon.device) + 0.5) / PEAKS
    x = stratum * 1.4 - 0.20 + dice.uniform(2 * PEAKS, -0.18, 0.18).view(-1, 2, PEAKS)
    tall = horizon.new_tensor((0.40, 0.26))[:, None] * dice.uniform(2, 0.75, 1.1)[..., None]
    height = tall * dice.uniform(2 * PEAKS, 0.45, 1.0).view(-1, 2, PEAKS)
    y = (horizon[:, None, None] - height).clamp(min=0.06)
    left, right = dice.uniform(4 * PEAKS, 0.75, 1.35).view(-1, 2, 2, PEAKS).unbind(1)
    phase = dice.uniform(6).view(-1, 2, 3)
    snow = y.amin(2) + height.amax(2) * dice.uniform(2, 0.22, 0.42)
    return Mountains(there, x, y, left, right, phase, snow)


def _ground(dice: Dice, horizon: Tensor, water: Tensor, light: Light) -> Ground:
    wet = water > 0
    hill = horizon - torch.where(wet, dice.one(0.015, 0.05), dice.one(0.04, 0.09))
    # A sea has an open horizon: its hills sink below, and may rise at one side as a cape.
    sea = water == SEA
    cape = torch.where(dice.chance(0.5), 1.0, -1.0) * dice.one(0.12, 0.30)
    hill = torch.where(sea, horizon + dice.one(0.02, 0.08), hill)
    middle = torch.where(wet, horizon + dice.one(0.10, 0.22), horizon + dice.one(0.0, 0.05))
    near = torch.maximum(dice.one(0.76, 0.90), middle + 0.12)
    tilts = dice.uniform(3, -1.0, 1.0)
    tilt = torch.stack(
        (
            torch.where(sea, cape, tilts[:, 0] * 0.05),
            torch.where(wet, tilts[:, 1] * 0.42, tilts[:, 1] * 0.10),
            tilts[:, 2] * 0.16,
        ),
        dim=1,
    )
    swing = dice.uniform(3, 0.5, 1.0) * horizon.new_tensor((0.016, 0.020, 0.022))
    flowers = dice.chance(0.5) & ((light.season == SPRING) | (light.season == SUMMER))
    return Ground(
        level=torch.stack((hill, middle, near), dim=1),
        tilt=tilt,
        swing=swing,
        phase=dice.uniform(3),
        forest=dice.chance(0.5),
        treetops=dice.uniform(TREES, 0.35, 1.0),
        road=dice.chance(0.38),
        road_x=dice.one(0.25, 0.75),
        road_bend=dice.one(0.05, 0.14),
        road_phase=dice.one(),
        flowers=flowers,
        flower_x=dice.uniform(FLOWERS),
        flower_y=dice.uniform(FLOWERS, 0.03, 0.22),
    )


def _objects(dice: Dice, ground: Ground, horizon: Tensor, water: Tensor) -> Objects:
    kinds, xs, bases, sizes = [], [], [], []
    # Chances of nothing, pointed tree, round tree and house; sizes; how far below the edge they stand.
    rows = (
        ((0.56, 0.16, 0.11, 0.17), (0.17, 0.23), (0.0, 0.0)),
        ((0.24, 0.26, 0.20, 0.30), (0.34, 0.48), (0.015, 0.060)),
        ((0.50, 0.28, 0.22, 0.00), (0.62, 0.86), (0.04, 0.10)),
    )
    for place, (weights, size, below) in enumerate(rows):
        count = SLOTS[place]
        kind = dice.choice(weights, count)
        stratum = (torch.arange(count, device=horizon.device) + 0.5) / count
        x = stratum * 1.1 - 0.05 + dice.uniform(count, -0.8, 0.8) / count
        if place == NEAR:
            # Near trees frame the picture and leave its middle open.
            x = torch.where(x < 0.5, x * 0.5, 1.0 - (1.0 - x) * 0.5)
        down = dice.uniform(count, *below).sort(1).values
        base = ground.profile(place, x) + down
        if place == FAR:
            shore = torch.where((water > 0)[:, None], horizon[:, None], base + 0.02)
            # On the far shore of a sea there is land only where the cape rises above the horizon.
            kind = torch.where((water == SEA)[:, None] & (base > horizon[:, None] - 0.03), NONE, kind)
            base = shore
        drawn = dice.uniform(count, *size)
        drawn = torch.where(kind == HOUSE, drawn * 0.80, drawn)
        xs.append(x)
        kinds.append(kind)
        bases.append(base)
        sizes.append(drawn)
    total = sum(SLOTS)
    flip = dice.uniform(total) < 0.5
    colour = dice.choice((0.34, 0.22, 0.16, 0.14, 0.14), total)
    return Objects(torch.cat(kinds, 1), torch.cat(xs, 1), torch.cat(bases, 1), torch.cat(sizes, 1), flip, colour)


def _boat(dice: Dice, ground: Ground, horizon: Tensor, water: Tensor) -> Boat:
    x = dice.one(0.12, 0.88)
    shore = torch.minimum(*(ground.profile(plane, x[:, None])[:, 0] for plane in (1, 2)))
    room = shore - horizon
    y = horizon + room * dice.one(0.25, 0.6)
    size = (0.12 + 1.1 * (y - horizon)).clamp(max=0.32) * dice.one(0.9, 1.2)
    there = (water > 0) & (room > 0.07) & dice.chance(0.55)
    return Boat(there, x, y, size, dice.chance(0.5), dice.choice((0.4, 0.4, 0.2))[:, 0])
