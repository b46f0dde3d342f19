"""The spatial palette: a picture's colours in cells of 64 pixels, as the colour adapters were trained with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..common.checks import check_choice
from .errors import AnnotatorError
from .images import check_images, to_bytes

# Cubic interpolation (a = -0.75) half-way between four pixels; whole numbers, so that nothing is rounded on the way.
HALF_WAY, UNIT = (-3, 19, 19, -3), 32
# Side in pixels of the picture being made, as trained.
PALETTE_CELL = 64
# Pixels of the largest picture that is made at once. A larger image is a photograph: its size does not tell that of the
# picture.
LARGEST_PICTURE = 1536 * 1024
# Square root of the area of pictures that the published adapters were trained with; SDXL's with twice that.
TRAINED_SIDE = 512


def likely_resolution(size: tuple[int, int], trained: int = TRAINED_SIDE) -> int:
    """Guess the short side of the picture that will be made with an image, if its size is unknown.

    Args:
        size: The image's height and width in pixels.
        trained: Square root of the area in pixels that the adapter was trained with.

    Returns:
        Pixels; 0 where the image itself has the size of a picture.
    """
    area = size[0] * size[1]
    return max(1, round(min(size) * trained / math.sqrt(area))) if area > LARGEST_PICTURE else 0


def palette(images: Tensor, cell: int = PALETTE_CELL, sampling: str = "as trained") -> Tensor:
    """Fill each cell with one colour.

    The grid starts at the top left corner. If the size is not a multiple of the cell, the last cells are cut off: their
    colour is that of a whole cell with the picture's edge repeated (``as trained``), or of the pixels that they contain
    (``area``, ``median``).

    Args:
        images: (B, C, H, W) in [0, 1]; rounded to bytes.
        cell: Side of a cell in pixels, at least 1. The adapters were trained with 64.
        sampling: A name in :data:`SAMPLINGS`. ``as trained`` takes the 4 x 4 pixels around a cell's centre, ``area``
            the mean of a cell, ``median`` the (lower) median of each channel.

    Returns:
        (B, 3, H, W) of the input's type, with the values of bytes.

    Raises:
        AnnotatorError: The input is not pictures, or the cell or sampling is not valid.

    Source:
        Paper 3.2, spatial colour palette; cv2.resize by INTER_CUBIC, then by INTER_NEAREST.
    """
    color = check_images("Color palette, image", images)
    if cell < 1:
        raise AnnotatorError(
            "Color palette, cell",
            str(cell),
            "at least 1 pixel",
            "64 is as trained.",
            says="A cell must be at least 1 pixel wide.",
        )
    check_choice("Color palette, sampling", sampling, (row.name for row in SAMPLINGS), error=AnnotatorError)
    sample = next(row.sample for row in SAMPLINGS if row.name == sampling)
    values = (sample(color, cell) / 255).to(images.dtype)
    height, width = color.shape[-2:]
    row = values.repeat_interleave(cell, -1)[..., :width]
    return row.unsqueeze(-2).expand(-1, -1, -1, cell, -1).flatten(-3, -2)[..., :height, :]


def _as_trained(images: Tensor, cell: int) -> Tensor:
    rows, columns = (_around_centres(size, cell, images.device) for size in images.shape[-2:])
    pixels = images.index_select(-2, rows).index_select(-1, columns)
    values = to_bytes(pixels).to(torch.float32).unflatten(-1, (-1, 4)).unflatten(-3, (-1, 4))
    # The centre of an odd cell is a pixel.
    weights = torch.tensor(HALF_WAY if cell % 2 == 0 else (0, 0, UNIT, 0), device=images.device)
    total: Tensor = (values * weights * weights.view(4, 1, 1)).sum((-3, -1))
    # Half a byte is rounded to the even one, as OpenCV does.
    return (total / UNIT**2).round().clamp(0, 255)


def _around_centres(size: int, cell: int, device: torch.device) -> Tensor:
    """Return the places of the four pixels around the centre of each cell; beyond the edge, those of the edge."""
    centres = torch.arange(cell // 2, size + -size % cell, cell, device=device)
    places = centres.unsqueeze(1) + torch.arange(-2, 2, device=device)
    return places.flatten().clamp(0, size - 1)


def _area(images: Tensor, cell: int) -> Tensor:
    values = to_bytes(images).to(torch.float32)
    return functional.avg_pool2d(values, cell, ceil_mode=True, count_include_pad=False).round()


def _median(images: Tensor, cell: int) -> Tensor:
    values = to_bytes(images).to(torch.float32)
    height, width = images.shape[-2:]
    whole = functional.pad(values, (0, -width % cell, 0, -height % cell), value=torch.nan)
    cells = whole.unflatten(-1, (-1, cell)).unflatten(-3, (-1, cell)).movedim(-3, -2)
    medians: Tensor = cells.flatten(-2).nanmedian(-1).values
    return medians


@dataclass(frozen=True)
class Sampling:
    """A way to choose a cell's colour.

    Attributes:
        name: Its name.
        sample: From (B, 3, H, W) and the cell's side to bytes (B, 3, ceil(H / cell), ceil(W / cell)) as float32.
    """

    name: str
    sample: Callable[[Tensor, int], Tensor]


SAMPLINGS = (Sampling("as trained", _as_trained), Sampling("area", _area), Sampling("median", _median))
