"""What is truly in a painted scene: classes, lines, planes, and what can be seen of each thing."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from . import canvas as layers
from .canvas import DEPTH, LAYER, LAYERS, PART, PARTS
from .land import hill_edges, peak_edges
from .light import NIGHT
from .scene import NONE, SLOTS, Scenes

CLASSES = tuple(dict.fromkeys(name for _, name, _ in PARTS))
VISIBLE = 0.0030  # share of the picture from which on a thing can be seen
LEAST = 0.0012  # the same of a boat, whose parts are thin
FIRST_OF = (layers.SHORE, layers.ON_MIDDLE, layers.ON_NEAR)


def class_map(region: Tensor) -> Tensor:
    """Name each pixel's class: regions (B, H, W) -> rows of `CLASSES` (B, H, W) long."""
    table = torch.tensor([CLASSES.index(name) for _, name, _ in PARTS], device=region.device)
    return table[region.long() % LAYER]


def layer_map(region: Tensor) -> Tensor:
    """Return the layer in front at each pixel (B, H, W) long, 0 the sky and rising towards us."""
    return region.long() // LAYER


def depth_map(region: Tensor) -> Tensor:
    """Return how near each pixel's plane is (B, H, W), 0 the sky and 1 a person."""
    return torch.tensor(DEPTH, device=region.device)[layer_map(region)]


def counts(region: Tensor) -> Tensor:
    """Return the share of the picture that each part of each layer covers (B, layers, parts)."""
    batch, pixels = len(region), region[0].numel()
    cells = LAYERS * LAYER
    offset = torch.arange(batch, device=region.device)[:, None] * cells
    found = torch.bincount((region.flatten(1).long() + offset).flatten(), minlength=batch * cells)
    return found.view(batch, LAYERS, LAYER)[..., : len(PARTS)].float() / pixels


@dataclass(frozen=True)
class Facts:
    """What can be seen in B scenes, as whole numbers.

    Attributes:
        season, hour: rows of `light.SEASONS` and `light.HOURS`.
        water: 0 none, 1 a lake, 2 a sea.
        mountains: 0 none, 1 bare, 2 with snow.
        forest, road, flowers, stars, orb: 0 or 1.
        clouds: how many.
        kind, colour: (B, 5) of each slot that can be seen; kind 0 where none can.
        boat: 0 none, else row of the sail's colour + 1.
        person: 0 none, else row of `light.COLOURS` + 1.
        pose: row of `figures.POSES`.
    """

    season: Tensor
    hour: Tensor
    water: Tensor
    mountains: Tensor
    forest: Tensor
    road: Tensor
    flowers: Tensor
    stars: Tensor
    orb: Tensor
    clouds: Tensor
    kind: Tensor
    colour: Tensor
    boat: Tensor
    person: Tensor
    pose: Tensor

    def __len__(self) -> int:
        return len(self.season)

    def pick(self, index: Tensor | slice) -> Facts:
        """Return the facts of some scenes."""
        return Facts(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @classmethod
    def joined(cls, parts: list[Facts]) -> Facts:
        """Return the facts of several batches as one."""
        return cls(**{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)})


def facts(scenes: Scenes, region: Tensor) -> Facts:
    """Say what can be seen of scenes in their regions (B, H, W)."""
    share = counts(region)
    whole = share.sum(2)
    slots = [first + number for first, count in zip(FIRST_OF, SLOTS, strict=True) for number in range(count)]
    seen = whole[:, slots] >= VISIBLE
    ranges = share[:, [layers.FAR_RANGE, layers.NEAR_RANGE]].sum(1)
    rock, cap = ranges[:, PART["rock"]], ranges[:, PART["snow cap"]]
    clouds = whole[:, layers.CLOUD : layers.CLOUD + 3] >= VISIBLE
    water = torch.where(whole[:, layers.WATER] >= 4 * VISIBLE, scenes.water, 0)
    boat, person = whole[:, layers.BOAT] >= LEAST, whole[:, layers.PERSON] >= VISIBLE
    return Facts(
        season=scenes.light.season,
        hour=scenes.light.hour,
        water=water,
        mountains=(rock + cap >= 3 * VISIBLE).long() + ((rock + cap >= 3 * VISIBLE) & (cap >= VISIBLE)).long(),
        forest=(share[:, layers.HILLS, PART["forest"]] >= 1.5 * VISIBLE).long(),
        road=(share[:, :, PART["road"]].sum(1) >= 3 * VISIBLE).long(),
        flowers=scenes.ground.flowers.long(),
        stars=(scenes.light.hour == NIGHT).long(),
        orb=(whole[:, layers.ORB] >= LEAST).long(),
        clouds=clouds.sum(1),
        kind=torch.where(seen, scenes.objects.kind, NONE),
        colour=scenes.objects.colour,
        boat=torch.where(boat, scenes.boat.colour + 1, 0),
        person=torch.where(person, scenes.person.colour + 1, 0),
        pose=scenes.person.pose,
    )


def skyline(region: Tensor) -> Tensor:
    """Return the row in which each column's land begins (B, W); things that stand before the sky count."""
    land = layer_map(region) >= layers.FAR_RANGE
    return torch.where(land.any(1), land.float().argmax(1), region.shape[1]).float()


def ridge(scenes: Scenes, region: Tensor) -> Tensor:
    """Return the edge of the mountains in pixels (B, W), NaN in columns where something hides it or there is none."""
    size = region.shape[-1]
    x = (torch.arange(size, device=region.device) + 0.5) / size
    edges = torch.stack([peak_edges(scenes, plane, x).amin(1) for plane in range(2)], dim=1)
    edges = torch.where(scenes.mountains.there[..., None], edges, 2.0).amin(1) * size
    row = edges.round().long().clamp(1, size - 2)
    layer = layer_map(region)
    above, below = (torch.gather(layer, 1, (row + step)[:, None])[:, 0] for step in (-2, 1))
    mountain = (below == layers.FAR_RANGE) | (below == layers.NEAR_RANGE)
    return torch.where((above < layers.FAR_RANGE) & mountain & (edges < size), edges, torch.nan)


def horizon(scenes: Scenes, region: Tensor) -> Tensor:
    """Return where the water begins in pixels (B, W), NaN in columns where something hides it or there is none."""
    size = region.shape[-1]
    edge = (scenes.horizon * size)[:, None].expand(-1, size)
    row = edge.round().long().clamp(1, size - 2)
    layer = layer_map(region)
    above, below = (torch.gather(layer, 1, (row + step)[:, None])[:, 0] for step in (-1, 1))
    return torch.where((above < layers.WATER) & (below == layers.WATER), edge, torch.nan)


def hills(scenes: Scenes, size: int) -> Tensor:
    """Return the edge of the hills in pixels (B, W), with a forest's treetops, hidden or not."""
    x = (torch.arange(size, device=scenes.seed.device) + 0.5) / size
    return hill_edges(scenes, x)[0] * size


def class_colours(picture: Tensor, classes: Tensor) -> Tensor:
    """Return the mean colour of each class (B, 12, 3), NaN where a scene has none; picture (B, 3, H, W)."""
    marks = torch.nn.functional.one_hot(classes.flatten(1), len(CLASSES)).float()
    total = marks.sum(1)[..., None]
    return (marks.transpose(1, 2) @ picture.flatten(2).transpose(1, 2)) / torch.where(total > 0, total, torch.nan)


def class_iou(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean overlap over the classes that a scene has; two class maps (B, H, W) -> (B,)."""
    scores = []
    for number in range(len(CLASSES)):
        mine, theirs = (found == number).flatten(1), (wanted == number).flatten(1)
        whole = (mine | theirs).sum(1)
        there = theirs.float().mean(1) >= VISIBLE
        scores.append(torch.where(there, (mine & theirs).sum(1) / whole.clamp(min=1), torch.nan))
    return torch.stack(scores, 1).nanmean(1)


def named_colours(picture: Tensor, region: Tensor) -> Tensor:
    """Return the mean colour of each slot's wall or crown (B, 5, 3), NaN where it can't be seen; picture (B, 3, H, W).

    A caption's colour word stands for what this is in the true picture, in its light and behind its air.
    """
    layer, part = layer_map(region), region.long() % LAYER
    named = (part == PART["wall"]) | (part == PART["side wall"]) | (part == PART["crown"])
    out = []
    for first, count in zip(FIRST_OF, SLOTS, strict=True):
        for number in range(count):
            mark = ((layer == first + number) & named).flatten(1).float()
            total = mark.sum(1, keepdim=True)
            mean = (picture.flatten(2) * mark[:, None]).sum(2) / total.clamp(min=1.0)
            out.append(torch.where(total >= VISIBLE * mark.shape[1] / 2, mean, torch.nan))
    return torch.stack(out, dim=1)


def order_right(found: Tensor, region: Tensor, reach: int = 3) -> Tensor:
    """Return how much of the borders between planes has the farther class above and the nearer one below.

    Args:
        found: class map (B, H, W) of a picture.
        region: the scene's regions (B, H, W).
        reach: how far from a border, in pixels, the classes are compared.

    Returns:
        Share of the places, `reach` above and below a border, where both classes are the true ones; (B,).
    """
    classes, layer = class_map(region), layer_map(region)
    above, below = slice(None, -2 * reach), slice(2 * reach, None)
    border = (layer[:, above] < layer[:, below]) & (classes[:, above] != classes[:, below])
    right = (found[:, above] == classes[:, above]) & (found[:, below] == classes[:, below])
    return (border & right).flatten(1).sum(1) / border.flatten(1).sum(1).clamp(min=1)
