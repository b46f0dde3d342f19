"""Make icon.png and banner.png: `python dev/tasks/launch.py dev.figures.brand`.

One landscape, drawn as a sketch and in colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

OUT = Path(__file__).absolute().parents[2] / "docs"
# Drawn larger, then shrunk: Pillow's polygons have hard edges.
OVERSAMPLING = 4
PAPER, LINE = (13, 15, 26), (244, 246, 255)

Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """A closed outline.

    Attributes:
        points: x to the right and y down, in units of the picture's height; x = 0 is the middle.
        top: Colour at the upper end.
        bottom: Colour at the lower end.
        drawn: True if the sketch shows the outline.
    """

    points: tuple[Point, ...]
    top: Colour
    bottom: Colour
    drawn: bool = True


@dataclass(frozen=True)
class Product:
    """A picture to make.

    Attributes:
        name: File name.
        size: Width and height in pixels.
        middle: Where sketch and colour meet at half height, in heights from the middle.
        line: Line width of the sketch, in heights.
        corner: Radius of the corners, in heights.
        title: Text on the sketch, or empty.
    """

    name: str
    size: tuple[int, int]
    middle: float
    line: float
    corner: float = 0.0
    title: str = ""


# The registry requires a square icon of at most 400 pixels, and a 21:9 banner.
PRODUCTS = (
    Product("icon.png", (400, 400), 0.0, 0.011, corner=0.18),
    Product("banner.png", (1260, 540), 0.05, 0.007, title="T2I-Adapter"),
)


def disc(middle: Point, radius: float) -> tuple[Point, ...]:
    """Return the outline of a disc."""
    angles = (math.tau * step / 96 for step in range(96))
    return tuple((middle[0] + radius * math.cos(angle), middle[1] + radius * math.sin(angle)) for angle in angles)


def ridge(height: float, peaks: tuple[Point, ...]) -> tuple[Point, ...]:
    """Return a mountain chain through its peaks and valleys, closed at the bottom of the picture."""
    return ((-1.4, height), *peaks, (1.4, height), (1.4, 1.1), (-1.4, 1.1))


def hill(height: float, swing: float, phase: float) -> tuple[Point, ...]:
    """Return a rolling hill, closed at the bottom of the picture."""
    steps = [-1.4 + 2.8 * step / 140 for step in range(141)]
    top = tuple((x, height + swing * math.sin(2.1 * x + phase) + 0.4 * swing * math.sin(5 * x)) for x in steps)
    return (*top, (1.4, 1.1), (-1.4, 1.1))


def tree(foot: Point, size: float) -> Iterator[Shape]:
    """Yield a fir tree of three tiers."""
    x, y = foot
    trunk = (
        (x - 0.06 * size, y),
        (x + 0.06 * size, y),
        (x + 0.06 * size, y - 0.2 * size),
        (x - 0.06 * size, y - 0.2 * size),
    )
    yield Shape(trunk, (92, 58, 46), (66, 40, 36))
    for tier, (low, high, wide) in enumerate(((0.15, 0.62, 0.34), (0.42, 0.86, 0.27), (0.68, 1.1, 0.19))):
        points = ((x - wide * size, y - low * size), (x, y - high * size), (x + wide * size, y - low * size))
        yield Shape(points, (47 + 14 * tier, 125 + 18 * tier, 104), (20, 78 + 12 * tier, 78))


def cabin(x: float, y: float) -> Iterator[Shape]:
    """Yield a cabin with a lit window; (x, y) is the lower left corner."""
    yield Shape(
        ((x + 0.16, y - 0.2), (x + 0.2, y - 0.2), (x + 0.2, y - 0.1), (x + 0.16, y - 0.1)), (150, 74, 66), (120, 56, 56)
    )
    yield Shape(((x, y), (x + 0.24, y), (x + 0.24, y - 0.12), (x, y - 0.12)), (198, 104, 70), (150, 70, 58))
    yield Shape(((x - 0.03, y - 0.115), (x + 0.12, y - 0.225), (x + 0.27, y - 0.115)), (112, 48, 66), (86, 36, 58))
    yield Shape(((x + 0.04, y - 0.035), (x + 0.1, y - 0.035), (x + 0.1, y - 0.09), (x + 0.04, y - 0.09)),
                (255, 236, 150), (255, 196, 92))  # fmt: skip
    yield Shape(((x + 0.15, y), (x + 0.2, y), (x + 0.2, y - 0.085), (x + 0.15, y - 0.085)), (96, 46, 48), (74, 34, 42))


def landscape() -> list[Shape]:
    """Return the shapes, back to front."""
    sky = ((-1.4, -0.1), (1.4, -0.1), (1.4, 0.72), (-1.4, 0.72))
    far = (
        (-0.95, 0.42),
        (-0.72, 0.53),
        (-0.4, 0.27),
        (-0.16, 0.49),
        (0.06, 0.36),
        (0.34, 0.56),
        (0.7, 0.3),
        (1.02, 0.52),
    )
    near = ((-1.1, 0.6), (-0.74, 0.46), (-0.44, 0.65), (-0.1, 0.5), (0.2, 0.67), (0.52, 0.49), (0.86, 0.64), (1.2, 0.5))
    snow = ((-0.4, 0.27), (-0.302, 0.36), (-0.345, 0.345), (-0.385, 0.385), (-0.43, 0.35), (-0.473, 0.33))
    return [
        Shape(sky, (84, 68, 172), (255, 182, 150), drawn=False),
        Shape(disc((0.24, 0.33), 0.135), (255, 240, 170), (255, 166, 96)),
        Shape(ridge(0.55, far), (150, 112, 190), (232, 140, 150)),
        Shape(snow, (255, 248, 250), (238, 214, 236)),
        Shape(ridge(0.62, near), (92, 84, 168), (128, 104, 176)),
        Shape(hill(0.7, 0.03, 0.4), (64, 150, 132), (40, 112, 116)),
        *cabin(0.06, 0.765),
        *tree((-0.36, 0.79), 0.26),
        *tree((-0.21, 0.81), 0.2),
        *tree((0.42, 0.8), 0.27),
        *tree((0.78, 0.79), 0.22),
        *tree((-0.85, 0.78), 0.24),
        Shape(hill(0.83, 0.025, 2.6), (104, 184, 108), (44, 128, 96)),
    ]


def draw(product: Product) -> Image.Image:
    """Draw a picture, at its own size."""
    width, height = (OVERSAMPLING * side for side in product.size)
    sketch, colours = Image.new("RGB", (width, height), PAPER), Image.new("RGB", (width, height))
    stroke = round(product.line * height)
    for shape in landscape():
        points = [(width / 2 + x * height, y * height) for x, y in shape.points]
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).polygon(points, fill=255)
        colours.paste(gradient(shape, (width, height)), mask=mask)
        sketch.paste(PAPER, mask=mask)
        if shape.drawn:
            ImageDraw.Draw(sketch).line([*points, *points[:2]], LINE, stroke, joint="curve")
    if product.title:
        font = ImageFont.load_default(0.145 * height)
        ImageDraw.Draw(sketch).text((0.075 * height, 0.085 * height), product.title, LINE, font)
    whole = Image.composite(colours, sketch, meeting(product, (width, height)))
    whole = whole.resize(product.size, Image.Resampling.LANCZOS)
    if product.corner:
        outline = Image.new("L", (width, height))
        ImageDraw.Draw(outline).rounded_rectangle((0, 0, width - 1, height - 1), product.corner * height, fill=255)
        whole.putalpha(outline.resize(product.size, Image.Resampling.LANCZOS))
    return whole


def gradient(shape: Shape, size: tuple[int, int]) -> Image.Image:
    """Return a gradient from a shape's upper to its lower colour over its visible part."""
    heights = [min(max(y, 0.0), 1.0) for _, y in shape.points]
    places = np.linspace(0, 1, size[1])
    share = np.clip((places - min(heights)) / max(max(heights) - min(heights), 1e-6), 0, 1)[:, None, None]
    column = (1 - share) * np.array(shape.top) + share * np.array(shape.bottom)
    return Image.fromarray(column.round().astype(np.uint8)).resize(size)


def meeting(product: Product, size: tuple[int, int]) -> Image.Image:
    """Return the share of colour of each pixel: 0 left of a slanted seam, 1 right of it."""
    y, x = np.mgrid[: size[1], : size[0]] / size[1]
    distance = x - size[0] / size[1] / 2 - product.middle + 0.35 * (y - 0.5)
    share = np.clip(distance / 0.16 + 0.5, 0, 1)
    return Image.fromarray((255 * share * share * (3 - 2 * share)).round().astype(np.uint8))


def main(arguments: list[str]) -> int:
    """Write both pictures into a folder, docs/ by default."""
    folder = Path(arguments[0]) if arguments else OUT
    for product in PRODUCTS:
        draw(product).save(folder / product.name, optimize=True)
    return 0
