"""Paint scenes: the sky, mountains, hills, water and ground in full, then the things that stand on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import canvas as layers
from . import sprites as things
from .canvas import Canvas, Sprites
from .land import paint_ground, paint_hills, paint_mountains, paint_water
from .light import FLAT, Style
from .placing import shadow_of, single, sized
from .scene import HOUSE, PINE, PLACE, ROUND, SLOTS, Scenes
from .sky import paint_clouds, paint_sky
from .sprites import Paints

AIR = (0.30, 0.10, 0.0)  # haze before things on the far shore, the middle ground and the near ground


@dataclass(frozen=True)
class Painting:
    """What painting leaves: the picture (B, 3, H, W) in [0, 1] and its regions (B, H, W) int16, see `canvas`."""

    picture: Tensor
    region: Tensor


def paint(scenes: Scenes, size: int = 128, style: Style = FLAT) -> Painting:
    """Paint B scenes at a size."""
    board = Canvas.empty(len(scenes), size, scenes.seed.device)
    paint_sky(board, scenes)
    paint_clouds(board, scenes, style)
    paint_mountains(board, scenes, style)
    paint_hills(board, scenes, style)
    objects = _objects(board, scenes, style)
    _paste(board, objects, 0, layers.SHORE, style)
    paint_water(board, scenes, style)
    _boat(board, scenes, style)
    paint_ground(board, scenes, style, 1)
    _paste(board, objects, 1, layers.ON_MIDDLE, style)
    paint_ground(board, scenes, style, 2)
    _paste(board, objects, 2, layers.ON_NEAR, style)
    _person(board, scenes, style)
    return Painting(board.rgb.clamp_(0.0, 1.0), board.region)


Placed = list[tuple[Sprites, Tensor]]


def _objects(board: Canvas, scenes: Scenes, style: Style) -> Placed:
    """Draw every tree and house; pairs of sprites and the slot of each."""
    out: Placed = []
    size = board.size
    for kind, area in ((PINE, things.PINE_BOX), (ROUND, things.ROUND_BOX), (HOUSE, things.HOUSE_BOX)):
        row, slot = torch.nonzero(scenes.objects.kind == kind, as_tuple=True)
        scale = scenes.objects.size[row, slot] * size
        anchor = torch.stack((scenes.objects.x[row, slot], scenes.objects.base[row, slot]), dim=1) * size
        for take, sides in sized(scale, area, size, style):
            sprites = Sprites.lay(row[take], (anchor[take], scale[take]), area, sides, style.shadow > 0)
            place = row.new_tensor(PLACE)[slot[take]]
            air = scale.new_tensor(AIR)[place] * style.air
            paints = Paints(scenes.light.pick(row[take]), air, style.gradient)
            colour, flip = (values[row[take], slot[take]] for values in (scenes.objects.colour, scenes.objects.flip))
            if kind == PINE:
                things.pine(sprites, paints)
            elif kind == ROUND:
                things.round_tree(sprites, paints, colour % 3)
            else:
                things.house(sprites, paints, colour, flip)
            out.append((sprites, slot[take]))
    return out


def _paste(board: Canvas, objects: Placed, place: int, layer: int, style: Style) -> None:
    first = sum(SLOTS[:place])
    for number in range(SLOTS[place]):
        for sprites, slot in objects:
            take = torch.nonzero(slot == first + number)[:, 0]
            if len(take):
                sprites.paste(board, take, layer + number, shadow_of(style, board.size))


def _boat(board: Canvas, scenes: Scenes, style: Style) -> None:
    boat = scenes.boat
    spot = torch.stack((boat.x, boat.y), dim=1)
    for sprites, row in single(board, boat.there, spot, boat.size, things.BOAT_BOX, style):
        paints = Paints(scenes.light.pick(row), boat.x.new_full((len(row),), 0.12 * style.air), style.gradient)
        things.boat(sprites, paints, boat.colour[row], boat.flip[row])
        sprites.paste(board, torch.arange(len(row), device=row.device), layers.BOAT, shadow_of(style, board.size))


def _person(board: Canvas, scenes: Scenes, style: Style) -> None:
    person = scenes.person
    spot = torch.stack((person.x, person.base), dim=1)
    for sprites, row in single(board, person.there, spot, person.size, things.PERSON_BOX, style):
        paints = Paints(scenes.light.pick(row), person.x.new_zeros(len(row)), style.gradient)
        things.person(sprites, paints, person.joints[row], person.colour[row])
        sprites.paste(board, torch.arange(len(row), device=row.device), layers.PERSON, shadow_of(style, board.size))
