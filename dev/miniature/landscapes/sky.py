"""Paint the sky: its gradient, sun or moon with a glow, stars and clouds."""

from __future__ import annotations

import torch
from torch import Tensor

from . import sprites as things
from .canvas import CLOUD, LAYER, ORB, PART, SOFT, Canvas
from .light import NIGHT, Light, Style
from .placing import shadow_of, single
from .scene import CLOUDS, Scenes

LOWEST = 0.68  # the sky ends above


def sky_colours(light: Light, height: Tensor) -> Tensor:
    """Return the sky's colours (B, 3, H) at heights (B, H), 0 the zenith and 1 the horizon."""
    zenith, middle, low = (light[name][:, :, None] for name in ("zenith", "middle", "low"))
    share = height.clamp(0.0, 1.0)[:, None]
    upper = zenith.lerp(middle, (share / 0.62).clamp(max=1.0))
    return upper.lerp(low, ((share - 0.45) / 0.55).clamp(0.0, 1.0).square() * (3.0 - 2.0 * share))


def paint_sky(board: Canvas, scenes: Scenes) -> None:
    """Fill the picture with the sky."""
    sky, light, axis = scenes.sky, scenes.light, board.axis()
    rows = slice(0, int(LOWEST * board.size))
    view = board.rgb[:, :, rows]
    view.copy_(sky_colours(light, axis[rows] / scenes.horizon[:, None])[..., None].expand_as(view))
    _stars(board, scenes)
    across, down = axis - sky.orb_x[:, None], axis[rows] - sky.orb_y[:, None]
    away = torch.sqrt(across[:, None, :].square() + down[:, :, None].square())
    halo = 0.75 * torch.exp(-away * 5.5) + 0.35 * torch.exp(-((away / (2.1 * sky.orb_radius[:, None, None])) ** 2))
    view.add_(light["glow"][:, :, None, None] * halo[:, None])
    inside = sky.orb_radius[:, None, None] - away
    bite = torch.hypot(
        across[:, None, :] - 0.48 * sky.orb_radius[:, None, None],
        down[:, :, None] + 0.22 * sky.orb_radius[:, None, None],
    )
    bitten = torch.minimum(inside, bite - 0.92 * sky.orb_radius[:, None, None])
    inside = torch.where((sky.crescent & (light.hour == NIGHT))[:, None, None], bitten, inside)
    board.fill(board.cover(inside), light["orb"][:, :, None, None], ORB * LAYER + PART["orb"], rows)


def _stars(board: Canvas, scenes: Scenes) -> None:
    """Add stars to the night; each is a small disc whose light fades with its edge."""
    row = torch.nonzero(scenes.light.hour == NIGHT)[:, 0]
    if not len(row):
        return
    sky = scenes.sky
    colour = board.rgb.new_tensor((0.68, 0.68, 0.60))
    add_dots(board, row, (sky.star_x[row], sky.star_y[row], sky.star_size[row]), colour.expand(len(row), 1, 3))


def add_dots(board: Canvas, row: Tensor, dots: tuple[Tensor, Tensor, Tensor], change: Tensor) -> None:
    """Add small discs to some pictures.

    Args:
        board: where to.
        row: (N,) which pictures.
        dots: x, y and radius (N, K), in shares of the side.
        change: (N, K or 1, 3) what is added where a disc covers a pixel.
    """
    x, y, radius = (values[..., None, None] * board.size for values in dots)
    side = max(3, 2 * int(board.size * float(dots[2].max()) + SOFT) + 1)
    left, top = ((value - side / 2).round().long() for value in (x, y))
    step = torch.arange(side, device=row.device)
    px, py = left + step, top + step[:, None]
    cover = (0.5 + (radius - torch.hypot(px + 0.5 - x, py + 0.5 - y)) / SOFT).clamp(0.0, 1.0)
    inside = (px >= 0) & (px < board.size) & (py >= 0) & (py < board.size) & (cover > 0)
    pictures = row[:, None, None, None].expand_as(inside)[inside]
    place = (py * board.size + px).expand_as(inside)[inside]
    added = (cover[..., None] * change[:, :, None, None, :])[inside]
    flat = board.rgb.view(len(board.rgb), 3, -1)
    for channel in range(3):
        flat[:, channel].index_put_((pictures, place), added[:, channel], accumulate=True)


def paint_clouds(board: Canvas, scenes: Scenes, style: Style) -> None:
    """Paint up to two clouds."""
    sky = scenes.sky
    for number in range(CLOUDS):
        spot = torch.stack((sky.cloud_x[:, number], sky.cloud_y[:, number]), dim=1)
        there, size = sky.cloud_there[:, number], sky.cloud_size[:, number]
        for sprites, row in single(board, there, spot, size, things.CLOUD_BOX, style):
            things.cloud(sprites, scenes.light.pick(row), sky.lobes[row, number], style.gradient)
            every = torch.arange(len(row), device=row.device)
            sprites.paste(board, every, CLOUD + number, shadow_of(style, board.size))
