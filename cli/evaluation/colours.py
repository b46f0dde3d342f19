"""How a picture's palette agrees with a map of coloured cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ...annotators.images import to_bytes
from ...annotators.palette import PALETTE_CELL, palette

# A grid with smaller cells is not a palette: the file format has changed the colours, or the map was resized.
_SMALLEST_CELL = 4
# Linear sRGB to CIE XYZ, relative to the white of D65, by rows. Source: IEC 61966-2-1.
_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_25_TO_7 = 25.0**7


def cell_of(image: Tensor) -> int:
    """Return the side in pixels of a palette's cells: that of the coarsest grid on whose lines all colours change.

    Args:
        image: A palette (1, 3, H, W) in [0, 1].

    Returns:
        The side; 64, with which the adapters were trained, if there is no such grid.
    """
    values = to_bytes(image)[0].int()
    rows = (values.diff(dim=1) != 0).any(dim=2).any(dim=0).nonzero() + 1
    columns = (values.diff(dim=2) != 0).any(dim=1).any(dim=0).nonzero() + 1
    side = math.gcd(*(int(place) for place in (*rows, *columns)))
    return side if side >= _SMALLEST_CELL else PALETTE_CELL


def palette_l1(picture: Tensor, wanted: Tensor, cells: tuple[int, int]) -> Tensor:
    """Return the mean absolute difference of the means of cells.

    Args:
        picture: (B, 3, H, W) in [0, 1].
        wanted: The same.
        cells: Number of cells from top to bottom and from left to right.

    Returns:
        (B,).
    """
    mean, true = (functional.adaptive_avg_pool2d(image, cells) for image in (picture, wanted))
    return (mean - true).abs().flatten(1).mean(dim=1)


def palette_agreement(asked: Tensor, picture: Tensor) -> dict[str, list[float]]:
    """Compare a picture with a palette.

    Args:
        asked: The palette (1, 3, H, W) in [0, 1].
        picture: The picture itself, of the same size.

    Returns:
        ``Delta E``: the mean CIEDE2000 difference between the palette and the picture's own, by the annotator of the
        colour adapters with cells of the same side, and 1; ``palette L1``: the mean absolute difference of the cells'
        means, and 1.
    """
    side = cell_of(asked)
    found = palette(picture, side)
    # One pixel for each cell.
    first, second = (lab_of(image[0, :, ::side, ::side].flatten(1).T) for image in (asked, found))
    cells = (-(-asked.shape[-2] // side), -(-asked.shape[-1] // side))
    return {
        "Delta E": [float(delta_e(first, second).mean()), 1.0],
        "palette L1": [float(palette_l1(picture, asked, cells)), 1.0],
    }


def lab_of(colours: Tensor) -> Tensor:
    """Convert sRGB colours (N, 3) in [0, 1] to CIE L*a*b* (N, 3), for the white of D65."""
    values = colours.double()
    linear = torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    matrix = torch.tensor(_TO_XYZ, dtype=torch.float64, device=colours.device)
    # The sums of the rows are the white.
    xyz = linear @ matrix.T / matrix.sum(dim=1)
    small = 6 / 29
    x, y, z = torch.where(xyz > small**3, xyz ** (1 / 3), xyz / (3 * small**2) + 4 / 29).unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def delta_e(first: Tensor, second: Tensor) -> Tensor:
    """Return the CIEDE2000 difference of colours in L*a*b*, (N, 3) and (N, 3) -> (N,).

    Source: Sharma, Wu & Dalal 2005, "The CIEDE2000 color-difference formula".
    """
    (light1, a1, b1), (light2, a2, b2) = first.double().unbind(1), second.double().unbind(1)
    mean7 = ((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2) ** 7
    scale = 1.5 - 0.5 * (mean7 / (mean7 + _25_TO_7)).sqrt()
    a1, a2 = a1 * scale, a2 * scale
    chroma1, chroma2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    hue1, hue2 = (torch.rad2deg(torch.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    gray = chroma1 * chroma2 == 0
    turn = torch.where(gray, 0.0, (hue2 - hue1 + 180) % 360 - 180)
    # Exactly opposite hues: the formula turns forward.
    turn = torch.where((turn == -180) & (hue2 > hue1), 180.0, turn)
    hue = torch.where(gray, hue1 + hue2, (hue1 + hue2 + torch.where((hue1 - hue2).abs() > 180, 360, 0)) / 2 % 360)
    across = 2 * (chroma1 * chroma2).sqrt() * torch.sin(torch.deg2rad(turn) / 2)
    light, chroma = (light1 + light2) / 2, (chroma1 + chroma2) / 2
    by_light, by_chroma, by_hue, rotation = _weights(light, chroma, hue)
    one, two, three = (light2 - light1) / by_light, (chroma2 - chroma1) / by_chroma, across / by_hue
    return (one**2 + two**2 + three**2 + rotation * two * three).clamp(min=0).sqrt()


def _weights(light: Tensor, chroma: Tensor, hue: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the divisors of lightness, chroma and hue, and the rotation term."""

    def wave(times: int, offset: float) -> Tensor:
        return torch.cos(torch.deg2rad(times * hue + offset))

    share = 1 - 0.17 * wave(1, -30) + 0.24 * wave(2, 0) + 0.32 * wave(3, 6) - 0.20 * wave(4, -63)
    by_light = 1 + 0.015 * (light - 50) ** 2 / (20 + (light - 50) ** 2).sqrt()
    turned = 30 * torch.exp(-(((hue - 275) / 25) ** 2))
    strength = 2 * (chroma**7 / (chroma**7 + _25_TO_7)).sqrt()
    return by_light, 1 + 0.045 * chroma, 1 + 0.015 * chroma * share, -strength * torch.sin(torch.deg2rad(2 * turned))
