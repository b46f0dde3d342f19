"""Thumbnails of the workflows: a twin's picture, with the adapter's input in a corner."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps, ImageStat

from .twins import Run, Twin

SIDE = 512
INSET, FRAME, MARGIN = 140, 3, 14
STEP = INSET + 2 * FRAME + MARGIN
PAPER, FRAME_COLOUR = (24, 24, 27), (161, 161, 170)
QUALITY = 85
LARGEST = 40_000  # bytes


def thumbnail(twin: Twin, run: Run) -> Image.Image:
    """Return a twin's result as a square picture.

    Args:
        twin: The twin.
        run: Its result.
    """
    made = mosaic([opened(data) for data in run.images[twin.result]])
    seen = [ImageOps.expand(fitted(opened(run.images[title][0]), INSET), FRAME, FRAME_COLOUR) for title in twin.seen]
    left, top = emptiest_corner(made, len(seen) * STEP - MARGIN, seen[0].height)
    for place, picture in enumerate(seen):
        made.paste(picture, (left + place * STEP, top))
    return made


def emptiest_corner(picture: Image.Image, width: int, height: int) -> tuple[int, int]:
    """Return left and top of a box in the corner with the least content."""
    corners = [(x, y) for y in (SIDE - MARGIN - height, MARGIN) for x in (MARGIN, SIDE - MARGIN - width)]
    return min(corners, key=lambda at: sum(ImageStat.Stat(picture.crop((*at, at[0] + width, at[1] + height))).stddev))


def mosaic(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return one picture, or the first four in two rows."""
    if len(pictures) < 4:
        return fitted(pictures[0], SIDE)
    made = Image.new("RGB", (SIDE, SIDE), PAPER)
    part = (SIDE - FRAME) // 2
    for number, picture in enumerate(pictures[:4]):
        row, column = divmod(number, 2)
        made.paste(fitted(picture, part), (column * (part + FRAME), row * (part + FRAME)))
    return made


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """Return a picture fitted into a square without cropping."""
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    made = Image.new("RGB", (side, side), PAPER)
    made.paste(picture.resize(size, Image.Resampling.LANCZOS), ((side - size[0]) // 2, (side - size[1]) // 2))
    return made


def opened(data: bytes) -> Image.Image:
    """Return the picture of a file."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def save(picture: Image.Image, path: Path) -> None:
    """Write a thumbnail.

    Raises:
        ValueError: It is larger than LARGEST bytes.
    """
    picture.save(path, quality=QUALITY, optimize=True)
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name}: got {path.stat().st_size} bytes; expected at most {LARGEST}. Lower QUALITY.")
