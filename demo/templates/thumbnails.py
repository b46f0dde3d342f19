"""The pictures of the browser of templates: what a twin drew, with what the adapter saw in a corner."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from .twins import Run, Twin

SIDE = 512
INSET, FRAME, MARGIN = 168, 4, 14
FRAME_COLOUR = (255, 255, 255)
QUALITY = 85
LARGEST = 40_000  # bytes


def thumbnail(twin: Twin, run: Run) -> Image.Image:
    """Return a square picture of what a twin made.

    Args:
        twin: Which one.
        run: What it made.
    """
    made = mosaic([opened(data) for data in run.images[twin.result]])
    for place, title in enumerate(twin.seen):
        seen = fitted(opened(run.images[title][0]), INSET)
        framed = ImageOps.expand(seen, FRAME, FRAME_COLOUR)
        left = MARGIN + place * (INSET + 2 * FRAME + MARGIN)
        made.paste(framed, (left, SIDE - MARGIN - framed.height))
    return made


def mosaic(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return one picture, or the first four in two rows."""
    if len(pictures) < 4:
        return fitted(pictures[0], SIDE)
    made = Image.new("RGB", (SIDE, SIDE), FRAME_COLOUR)
    part = (SIDE - FRAME) // 2
    for number, picture in enumerate(pictures[:4]):
        row, column = divmod(number, 2)
        made.paste(fitted(picture, part), (column * (part + FRAME), row * (part + FRAME)))
    return made


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """Return a picture in a square of its ground's colour, nothing of it cut off."""
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    ground = picture.getpixel((0, 0))
    made = Image.new("RGB", (side, side), ground)
    made.paste(picture.resize(size, Image.Resampling.LANCZOS), ((side - size[0]) // 2, (side - size[1]) // 2))
    return made


def opened(data: bytes) -> Image.Image:
    """Return the picture of a file."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def save(picture: Image.Image, path: Path) -> None:
    """Write a thumbnail.

    Raises:
        ValueError: It is larger than an archive of many should hold.
    """
    picture.save(path, quality=QUALITY, optimize=True)
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name}: got {path.stat().st_size} bytes; expected at most {LARGEST}. Lower QUALITY.")
