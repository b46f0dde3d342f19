"""Pictures of coloured shapes drawn by a program: scenes by seed, their picture and their layout.

A scene depends only on its seed, not on device or batch, so a number identifies a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch

COLOURS = ("red", "green", "blue", "yellow", "purple", "pink", "white", "black")
KINDS = ("circle", "square", "triangle", "star")
SIZE = 128
SLOTS = 3
HELD_OUT = 1 << 31  # first seed never used in training; training seeds stay below

RGB: tuple[tuple[float, float, float], ...] = (
    (0.86, 0.08, 0.12),
    (0.12, 0.62, 0.20),
    (0.12, 0.26, 0.86),
    (0.98, 0.85, 0.14),
    (0.50, 0.14, 0.66),
    (0.98, 0.46, 0.74),
    (0.97, 0.97, 0.97),
    (0.05, 0.05, 0.06),
)
# For each kind: number of points, inner radius relative to the outer, radius relative to the scene's, upright angle.
_OUTLINE: tuple[tuple[float, float, float, float], ...] = (
    (0.0, 1.0, 0.90, 0.0),
    (4.0, math.cos(math.pi / 4), 1.12, math.pi / 4),
    (3.0, 0.5, 1.15, -math.pi / 2),
    (5.0, 0.45, 1.20, -math.pi / 2),
)
# For each kind, the radius of the inscribed circle relative to the scene's, which rounding leaves unchanged.
_INNER = tuple(inner * share for _, inner, share, _ in _OUTLINE)
ROUNDED = 0.4  # share of a shape's radius that becomes a border with round corners
SMALLEST, LARGEST, CROWDED = 20.0, 42.0, 6.0  # radius in pixels; reduction of the largest per additional shape
REACH = 0.8  # minimum distance of a centre from the border, relative to the radius: tips may lie outside
_CANDIDATES = 8
_COLUMNS = 1 + len(COLOURS) + len(KINDS) + SLOTS + _CANDIDATES * SLOTS * 3


@dataclass(frozen=True)
class Scenes:
    """B scenes of up to three shapes, back to front; slots at or past `count` hold values that are not drawn.

    Shapes: seed, count, background (B,); kind, colour (B, 3) long; centre (B, 3, 2) as x, y and radius (B, 3) in
    pixels of a 128 px picture; angle (B, 3) in radians. No two shapes of a scene share a kind or a colour, and none
    has the background's colour, so prompt and layout together determine the picture.
    """

    seed: torch.Tensor
    count: torch.Tensor
    background: torch.Tensor
    kind: torch.Tensor
    colour: torch.Tensor
    centre: torch.Tensor
    radius: torch.Tensor
    angle: torch.Tensor

    def __len__(self) -> int:
        return self.seed.shape[0]

    def pick(self, index: torch.Tensor | slice) -> Scenes:
        """Return the scenes at `index` (a slice, or a long or bool tensor)."""
        return self._each(lambda values: values[index])

    def to(self, device: torch.device) -> Scenes:
        """Return the scenes on a device."""
        return self._each(lambda values: values.to(device))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Scenes:
        return Scenes(**{field.name: change(getattr(self, field.name)) for field in fields(self)})


def hash_uniform(seed: torch.Tensor, columns: int) -> torch.Tensor:
    """Draw uniform numbers in [0, 1) that depend only on the seed.

    Args:
        seed: (B,) long, 0 to 2**32 - 1.
        columns: how many numbers per seed.

    Returns:
        (B, columns) float32, the same on every device.
    """
    lane = torch.arange(1, columns + 1, device=seed.device, dtype=torch.long)
    state = (mixed(seed)[:, None] + lane * 0x9E3779B1) & 0xFFFFFFFF
    return (mixed(mixed(state) ^ seed[:, None]) >> 8).float() / float(1 << 24)


def mixed(value: torch.Tensor) -> torch.Tensor:
    """Scramble 32-bit numbers held in int64 (multiply and shift, so int64's wrap-around leaves the low bits right)."""
    value = value & 0xFFFFFFFF
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        value = ((value ^ (value >> shift)) * factor) & 0xFFFFFFFF
    return value ^ (value >> 16)


def draw_scenes(seed: torch.Tensor) -> Scenes:
    """Make one scene per seed.

    Args:
        seed: (B,) long, 0 to 2**32 - 1; from `HELD_OUT` up for scenes that no model has seen.

    Returns:
        B scenes on the seed's device.
    """
    number = hash_uniform(seed, _COLUMNS)
    split = torch.split(number, (1, len(COLOURS), len(KINDS), SLOTS, _CANDIDATES * SLOTS * 3), dim=1)
    count = 1 + (split[0][:, 0] > 0.25).long() + (split[0][:, 0] > 0.62).long()
    colours = split[1].argsort(dim=1)[:, : SLOTS + 1]
    kinds = split[2].argsort(dim=1)[:, :SLOTS]
    angle = (split[3] - 0.5) * 0.7
    centre, radius = _place(split[4].view(-1, _CANDIDATES, SLOTS, 3), count)
    return Scenes(seed, count, colours[:, 0], kinds, colours[:, 1:], centre, radius, angle)


def _place(number: torch.Tensor, count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose among layouts (B, K, 3, 3) the first with little overlap, else the least crowded one."""
    largest = LARGEST - CROWDED * (count.float() - 1.0)
    radius = SMALLEST + number[..., 0] * (largest[:, None, None] - SMALLEST)
    reach = radius * REACH
    centre = reach[..., None] + number[..., 1:] * (SIZE - 2.0 * reach)[..., None]
    room = torch.full(number.shape[:2], 9.0, device=number.device)
    for first in range(SLOTS):
        for second in range(first + 1, SLOTS):
            gap = (centre[:, :, first] - centre[:, :, second]).norm(dim=-1)
            gap = gap / (radius[:, :, first] + radius[:, :, second])
            room = torch.where((second < count)[:, None], torch.minimum(room, gap), room)
    # The earliest layout with enough room wins; a small penalty by position makes argmax find it.
    rank = torch.arange(_CANDIDATES, device=number.device) * 1e-4
    best = (room.clamp(max=0.8) - rank).argmax(dim=1)
    row = torch.arange(len(best), device=best.device)
    return centre[row, best], radius[row, best]


def distance(
    kind: torch.Tensor, centre: torch.Tensor, radius: torch.Tensor, angle: torch.Tensor, size: int
) -> torch.Tensor:
    """Measure how far each pixel lies from each shape's outline.

    Args:
        kind, radius, angle: (N,); centre: (N, 2); in pixels of a 128 px picture.
        size: side of the grid.

    Returns:
        (N, size, size) signed distance in 128-px pixels, negative inside.
    """
    table = torch.tensor(_OUTLINE, device=radius.device)[kind]
    points, inner, share, turn = (table[:, column, None, None] for column in range(4))
    axis = (torch.arange(size, device=radius.device) + 0.5) * (SIZE / size)
    x = axis[None, None, :] - centre[:, 0, None, None]
    y = axis[None, :, None] - centre[:, 1, None, None]
    away = torch.sqrt(x * x + y * y)
    outer = (radius * share[:, 0, 0])[:, None, None]
    # Fold the plane into half a point of the star; there the outline is one straight edge from tip to notch.
    half = math.pi / points.clamp(min=1.0)
    bearing = torch.atan2(y, x) - turn - angle[:, None, None]
    folded = torch.abs(torch.remainder(bearing + half, 2.0 * half) - half)
    px, py = away * torch.cos(folded), away * torch.sin(folded)
    ex, ey = outer * (inner * torch.cos(half) - 1.0), outer * inner * torch.sin(half)
    along = (((px - outer) * ex + py * ey) / (ex * ex + ey * ey)).clamp(0.0, 1.0)
    dx, dy = px - outer - along * ex, py - along * ey
    side = torch.sign((px - outer) * ey - py * ex)
    return torch.where(points > 0, side * torch.sqrt(dx * dx + dy * dy), away - outer)


def distances(scenes: Scenes, size: int = SIZE) -> torch.Tensor:
    """Return signed distances (B, 3, size, size) in 128-px pixels; slots that are not drawn get a large distance."""
    flat = distance(
        scenes.kind.flatten(), scenes.centre.flatten(0, 1), scenes.radius.flatten(), scenes.angle.flatten(), size
    ).view(-1, SLOTS, size, size)
    slot = torch.arange(SLOTS, device=flat.device)
    return torch.where((slot < scenes.count[:, None])[..., None, None], flat, 1e3)


def paint(scenes: Scenes, field: torch.Tensor) -> torch.Tensor:
    """Colour scenes with smooth edges.

    Args:
        scenes: B scenes.
        field: their `distances` (B, 3, H, W).

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    table = torch.tensor(RGB, device=field.device)
    picture = table[scenes.background][:, :, None, None].expand(-1, -1, *field.shape[-2:])
    scale = field.shape[-1] / SIZE
    for slot in range(SLOTS):
        cover = (0.5 - field[:, slot : slot + 1] * scale).clamp(0.0, 1.0)
        picture = picture + (table[scenes.colour[:, slot]][:, :, None, None] - picture) * cover
    return picture


def paint_rounded(scenes: Scenes, field: torch.Tensor) -> torch.Tensor:
    """Paint scenes like `paint`, in another style: plump shapes without tips.

    The VAE must be able to reproduce the style. It flattens shading, so a style of shades could not be learned.
    """
    inner = torch.tensor(_INNER, device=field.device)[scenes.kind]
    core = replace(scenes, radius=scenes.radius * (1.0 - ROUNDED))
    around = ROUNDED * inner * scenes.radius
    return paint(scenes, distances(core, field.shape[-1]) - around[..., None, None])


def labels(field: torch.Tensor) -> torch.Tensor:
    """Return the frontmost shape: `distances` (B, 3, H, W) -> (B, H, W) long, 0 background, 1 to 3 the slot + 1."""
    out = torch.zeros(field.shape[0], *field.shape[-2:], dtype=torch.long, device=field.device)
    for slot in range(SLOTS):
        out = torch.where(field[:, slot] < 0, slot + 1, out)
    return out
