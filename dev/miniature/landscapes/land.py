"""Paint what lies across the whole picture: mountains, hills with a forest, water, and the ground with a road."""

from __future__ import annotations

import torch
from torch import Tensor

from .canvas import FAR_RANGE, HILLS, LAYER, MIDDLE, NEAR, NEAR_RANGE, PART, SOFT, WATER, Canvas
from .light import SNOW, WINTER, Style
from .scene import PEAKS, SEA, TREES, Scenes
from .shapes import triangle_wave
from .sky import add_dots

RANGE_AIR = (0.58, 0.32)
GROUND_AIR = (0.20, 0.08, 0.0)
MARGIN = 2  # rows
# Hills, water and middle ground, near ground never rise above.
HIGHEST = (0.30, 0.40, 0.55)


def seen(scenes: Scenes, colour: Tensor, shade: float, air: float) -> Tensor:
    """Return a colour (B, 3) or (3,) as light and air leave it; (B, 3)."""
    lit = scenes.light["lit"].lerp(scenes.light["shade"], shade)
    return (colour * lit).lerp(scenes.light["haze"], air)


def peak_edges(scenes: Scenes, plane: int, x: Tensor) -> Tensor:
    """Return the edge of each peak of a range at x (W,); (B, 4, W)."""
    rocks = scenes.mountains
    away = x - rocks.x[:, plane, :, None]
    slope = torch.where(away < 0, rocks.left[:, plane, :, None], rocks.right[:, plane, :, None])
    phase = rocks.phase[:, plane, :, None]
    rough = 0.012 * triangle_wave(x * 3.1 + phase[:, 0, None]) + 0.006 * triangle_wave(x * 6.7 + phase[:, 1, None])
    return rocks.y[:, plane, :, None] + slope * away.abs() + rough


def paint_mountains(board: Canvas, scenes: Scenes, style: Style) -> None:
    """Paint up to two ranges, each peak with a side in the light and one in the shade."""
    for plane, (name, layer) in enumerate((("far_rock", FAR_RANGE), ("rock", NEAR_RANGE))):
        there = scenes.mountains.there[:, plane]
        if bool(there.any()):
            _range(board, scenes, style, (plane, name, layer))


def _range(board: Canvas, scenes: Scenes, style: Style, row: tuple[int, str, int]) -> None:
    plane, name, layer = row
    rocks, axis = scenes.mountains, board.axis()
    rows = slice(0, min(board.size, int(0.64 * board.size) + MARGIN))
    y = axis[rows][None, :, None]
    edges = peak_edges(scenes, plane, axis)
    gone = torch.where(rocks.there[:, plane], 0.0, 2.0)[:, None, None]
    inside = y - edges.amin(1)[:, None] - gone
    shade = torch.zeros_like(inside)
    # As `Canvas.cover`, but in pixels before columns and rows meet: this is the costliest loop of all.
    scale = board.size / SOFT
    sun = torch.where(scenes.sky.orb_x < 0.5, scale, -scale)[:, None, None]
    for peak in range(PEAKS):
        turn = 0.030 * triangle_wave((y - rocks.y[:, plane, peak, None, None]) * 4.5 + 0.25)
        beyond = (axis - rocks.x[:, plane, peak, None, None]) * sun
        side = (beyond + (turn * sun + 0.5)).clamp_(0.0, 1.0)
        front = (y * scale + (0.5 - edges[:, peak, None] * scale)).clamp_(0.0, 1.0)
        shade.lerp_(side, front)
    air = min(0.85, RANGE_AIR[plane] * style.air)
    # Mist gathers at the foot.
    foot = ((y - rocks.y[:, plane].amin(1)[:, None, None]) / 0.42).clamp(0.0, 1.0) * 0.62 * style.gradient
    haze = scenes.light["haze"][:, :, None, None]

    def shaded(colour: Tensor, dark: float, clear: float) -> Tensor:
        light, dim = (seen(scenes, colour, value, air * clear)[:, :, None, None] for value in (0.0, dark))
        return light.lerp(dim, shade[:, None])

    if style.shadow:
        board.shadow(-inside, style.shadow, style.reach, rows)
    board.fill(board.cover(inside), shaded(scenes.light[name], 0.75, 1.0), layer * LAYER + PART["rock"], rows)
    snow = rocks.snow[:, plane] + torch.where(scenes.light.season == WINTER, 0.05, -0.02)
    line = snow[:, None] + 0.030 * triangle_wave(axis * 5.5 + rocks.phase[:, plane, 2:])
    capped = torch.minimum(inside, line[:, None] - y)
    white = axis.new_tensor(SNOW)
    board.fill(board.cover(capped), shaded(white, 0.55, 0.45), layer * LAYER + PART["snow cap"], rows)
    board.fill((board.cover(inside) * foot), haze, None, rows)


def hill_edges(scenes: Scenes, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the edge of the hills at x (W,), with the forest on it, and without; (B, W) each."""
    bare = scenes.ground.profile(0, x.expand(len(scenes), -1))
    count = 9.0
    place = (x * count + scenes.ground.phase[:, :1] * 7.0) % TREES
    height = torch.gather(scenes.ground.treetops, 1, place.long().clamp(max=TREES - 1))
    top = 1.0 - 2.0 * (place - place.floor() - 0.5).abs()
    # Where the hills sink below a sea, no treetop may look out of it.
    dry = ((scenes.horizon[:, None] + 0.01 - bare) / 0.03).clamp(0.0, 1.0)
    dry = torch.where((scenes.water == SEA)[:, None], dry, 1.0)
    return bare - torch.where(scenes.ground.forest, 0.085, 0.0)[:, None] * height * top * dry, bare


def paint_hills(board: Canvas, scenes: Scenes, style: Style) -> None:
    """Paint the hills behind the water or the middle ground, some with a forest on their edge."""
    axis, light = board.axis(), scenes.light
    wooded, bare = hill_edges(scenes, axis)
    rows = slice(int(HIGHEST[0] * board.size), board.size)
    y = axis[rows, None]
    air = GROUND_AIR[0] * style.air + 0.05
    inside = y - wooded[:, None]
    if style.shadow:
        board.shadow(bare[:, None] - 0.06 - y, style.shadow, style.reach, rows)
    winter = (light.season == WINTER)[:, None, None]
    bottom = seen(scenes, light["hill"], 0.5, air)[:, :, None, None]
    top = seen(scenes, light["hill"], 0.0, air)[:, :, None, None]
    share = ((y - bare[:, None]) / 0.12).clamp(0.0, 1.0)[:, None] * style.gradient
    part = HILLS * LAYER + torch.where(winter, PART["snowy hill"], PART["hill"])
    board.fill(board.cover(y - bare[:, None]), top.lerp(bottom, share), part, rows)
    trees = torch.minimum(inside, bare[:, None] + 0.020 - y)
    trees = torch.where(scenes.ground.forest[:, None, None], trees, -1.0)
    colour = seen(scenes, light["forest"], 0.15, air)[:, :, None, None]
    board.fill(board.cover(trees), colour, HILLS * LAYER + PART["forest"], rows)


def paint_water(board: Canvas, scenes: Scenes, style: Style) -> None:
    """Paint a lake or a sea: what lies behind it mirrored, darker and broken, with a path of light on it."""
    axis, light = board.axis(), scenes.light
    rows = slice(int(HIGHEST[1] * board.size), board.size)
    down = axis[rows] - scenes.horizon[:, None]
    depth = (down / (1.0 - scenes.horizon[:, None])).clamp(min=0.0)
    mirrored = (scenes.horizon[:, None] - down * 1.05).clamp(0.5 / board.size, 1.0)
    source = mirrored * board.size - 0.5
    low = source.floor().clamp(0, board.size - 1)
    share = (source - low)[:, None, :, None]
    first, second = (_rows(board, (low.long() + step).clamp(max=board.size - 1)) for step in (0, 1))
    image = first.lerp_(second, share.expand_as(first))
    deep = light["water"][:, :, None].lerp(light["zenith"][:, :, None] * 0.85, 0.3)
    mix = (0.50 + 0.36 * depth)[:, None, :, None]
    colour = image.lerp_(deep[..., None].expand_as(image), mix.expand_as(image))
    wet = (scenes.water > 0)[:, None]
    # Light bands far out, where the sky lies on the water.
    band = 0.10 * (0.5 + 0.5 * torch.sin(20.0 * depth.sqrt() + 6.28 * scenes.ground.phase[:, :1])) * (1.0 - depth)
    colour += (light["low"] * 0.45)[:, :, None, None] * band[:, None, :, None] * style.gradient
    colour += _path_of_light(board, scenes, depth)[:, None] * light["orb"][:, :, None, None] * 0.5
    inside = torch.where(wet, down, -1.0)[:, :, None].expand(-1, -1, board.size)
    board.fill(board.cover(inside), colour, WATER * LAYER + PART["water"], rows)


def _rows(board: Canvas, row: Tensor) -> Tensor:
    """Return rows (B, N) of each picture; (B, 3, N, W)."""
    start = torch.arange(3 * len(row), device=row.device).view(-1, 3, 1) * board.size
    flat = board.rgb.view(-1, board.size)
    return flat.index_select(0, (start + row[:, None]).flatten()).view(-1, 3, row.shape[1], board.size)


def _path_of_light(board: Canvas, scenes: Scenes, depth: Tensor) -> Tensor:
    """Return dashes below the sun or moon (B, H, W) in [0, 1]; depth (B, H) from the horizon to the bottom."""
    step = depth.sqrt() * 17.0
    phase = 6.28 * scenes.ground.phase[:, 1:2]
    width = (0.035 + 0.12 * depth) * (0.75 + 0.25 * torch.sin(step * 0.55 + phase))
    shift = 0.022 * depth.sqrt() * torch.sin(step * 0.83 + 2.0 * phase)
    middle = scenes.sky.orb_x[:, None] + shift
    dash = (torch.sin(step * 2.0) * 1.6 + 0.6).clamp(0.0, 1.0) * (1.0 - 0.7 * depth).clamp(min=0.0)
    away = (board.axis() - middle[..., None]).abs()
    return board.cover(width[..., None] - away) * dash[..., None] * 0.6


def paint_ground(board: Canvas, scenes: Scenes, style: Style, plane: int) -> None:
    """Paint the middle (1) or the near (2) ground, with its part of the road and of the flowers."""
    axis, light = board.axis(), scenes.light
    name, layer = (("field", MIDDLE), ("meadow", NEAR))[plane - 1]
    edge = scenes.ground.profile(plane, axis.expand(len(scenes), -1))
    rows = slice(int(HIGHEST[plane] * board.size), board.size)
    inside = axis[rows, None] - edge[:, None]
    if style.shadow:
        board.shadow(-inside, style.shadow, style.reach, rows)
    air = GROUND_AIR[plane] * style.air
    base = light[name]
    top, bottom = (
        seen(scenes, base * bright, shade, air)[:, :, None, None] for bright, shade in ((1.06, 0.0), (0.94, 0.55))
    )
    share = (inside / 0.34).clamp(0.0, 1.0)[:, None] * (0.4 + 0.6 * style.gradient)
    # Swath and road are mixed into the colour, since layers of one edge let through what lies behind them.
    colour = top.lerp(bottom, share)
    swath = _swath(board, scenes, (plane, rows))[:, None]
    colour = colour.lerp(seen(scenes, base * 0.93, 0.28, air)[:, :, None, None], swath)
    road = board.cover(torch.where(scenes.ground.road[:, None, None], _road(board, scenes, rows), -1.0))
    colour = colour.lerp(seen(scenes, light["road"], 0.1, air)[:, :, None, None], road[:, None])
    winter = (light.season == WINTER)[:, None, None]
    part = torch.where(road >= 0.5, PART["road"], torch.where(winter, PART["snow"], PART["grass"]))
    board.fill(board.cover(inside), colour, layer * LAYER + part, rows)
    if plane == 2:
        _flowers(board, scenes, edge)


def _swath(board: Canvas, scenes: Scenes, where: tuple[int, slice]) -> Tensor:
    """Return how much a soft sweep of the ground is darkened (B, H, W)."""
    axis, (plane, rows) = board.axis(), where
    phase = scenes.ground.phase[:, plane, None]
    line = scenes.ground.level[:, plane, None] + 0.075 + 0.05 * torch.sin(6.28 * (0.7 * axis + phase + 0.3))
    return board.cover(axis[rows, None] - line[:, None]) * 0.55


def road_middle(scenes: Scenes, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the middle of the road and half its width at heights (B, N) or (N,); (B, N) each."""
    top = scenes.ground.level[:, 1:2] - 0.04
    near = ((y - top) / (1.0 - top)).clamp(0.0, 1.0)
    bend = torch.sin(6.28 * (1.15 * near.sqrt() + scenes.ground.road_phase[:, None])) * near
    middle = scenes.ground.road_x[:, None] + scenes.ground.road_bend[:, None] * bend * 1.6
    return middle, 0.012 + 0.105 * near * near


def _road(board: Canvas, scenes: Scenes, rows: slice) -> Tensor:
    """Return how far inside the road each pixel lies (B, H, W)."""
    middle, half = road_middle(scenes, board.axis()[rows])
    return half[..., None] - (board.axis() - middle[..., None]).abs()


def _flowers(board: Canvas, scenes: Scenes, edge: Tensor) -> None:
    row = torch.nonzero(scenes.ground.flowers)[:, 0]
    if not len(row):
        return
    ground = scenes.ground
    x = ground.flower_x[row]
    level = ground.profile(2, ground.flower_x)[row]
    y = level + ground.flower_y[row]
    radius = 0.013 + 0.03 * ground.flower_y[row]
    table = board.rgb.new_tensor(((0.55, 0.25, 0.35), (0.60, 0.45, 0.50), (0.65, 0.35, -0.05), (0.60, -0.10, 0.0)))
    tone = (x * 7919.0).long() % 4
    lit = scenes.light["lit"][row][:, None]
    add_dots(board, row, (x, y, radius), table[tone] * lit)
