"""Contact sheets: one row for each sample, one column for the map and for each row of the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from ...training.checkpoints import write_whole

# Pixels of a cell, between cells, and of the headings.
_CELL, _GAP, _HEAD = 192, 6, 34
_INK, _PAPER = (24, 24, 27), (255, 255, 255)
_QUALITY = 85
# Letters of a heading's line.
_LETTERS = 28


def write_sheet(path: Path, headings: Sequence[str], rows: Sequence[Sequence[Path]]) -> None:
    """Write a contact sheet as a JPEG file.

    Args:
        path: The file.
        headings: Heading of each column.
        rows: Files of the pictures by row and column.
    """
    size = (len(headings) * (_CELL + _GAP) + _GAP, _HEAD + len(rows) * (_CELL + _GAP) + _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for column, heading in enumerate(headings):
        left = _GAP + column * (_CELL + _GAP)
        lines = f"{heading[:_LETTERS]}\n{heading[_LETTERS : 2 * _LETTERS]}".strip()
        pen.text((left, 4), lines, fill=_INK, font=font, spacing=1)
        for row, files in enumerate(rows):
            with Image.open(files[column]) as picture:
                cell = ImageOps.contain(picture.convert("RGB"), (_CELL, _CELL))
                sheet.paste(cell, (left, _HEAD + row * (_CELL + _GAP)))
    write_whole(path, lambda file: sheet.save(file, "JPEG", quality=_QUALITY))
