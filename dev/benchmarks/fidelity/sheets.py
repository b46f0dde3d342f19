"""Contact sheets: some scenes, their conditions, and each variant's pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ...demo import gallery
from ...miniature import generate, measure
from .groups import Group
from .variants import variant_named
from .workshop import Workshop

ROWS = 3
QUALITY = 80
SCALE = 0.7  # smaller than the gallery's pictures, so that nine sheets stay below 400 KB
# Abbreviations for the labels above pictures.
SHORT = (("second UNet, ", "2nd: "), ("inpainting, ", ""), (", no colour words", ""), (" third", ""))


def label(name: str) -> str:
    """Shorten a variant's name to the width of a picture."""
    for long, short in SHORT:
        name = name.replace(long, short)
    return name


def write(workshop: Workshop, group: Group, folder: Path) -> Path:
    """Write a group's sheet as a JPEG.

    Args:
        workshop: Folders of the pictures.
        group: The group.
        folder: Target folder.
    """
    first = slice(0, min(ROWS, workshop.scenes))
    drawn = measure.held_out(workshop.scenes).pick(first)
    columns = [("scene", measure.truth(drawn))]
    columns += [(f"{kind} map", generate.exact_hint(kind, drawn)) for kind in group.hints]
    columns += [(label(name), workshop.pictures(variant_named(name))[first]) for name in group.shown]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{group.name}.jpg"
    sheet = gallery.sheet(columns)
    small = (round(sheet.width * SCALE), round(sheet.height * SCALE))
    sheet.resize(small, Image.Resampling.LANCZOS).save(file, quality=QUALITY)
    return file
