"""Make the pictures of the help pages in web/docs: `python dev/tasks/launch.py dev.figures.help_pictures`.

They show real results: panels of the annotators' sheet, and the first scenes of the sheets in docs/control, which
`python3 run.py gallery` draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..demo import gallery
from ..tasks import paths
from . import sheet_annotators

OUT = paths.ROOT / "web" / "docs" / "pictures"
# Rows of a gallery sheet to keep: enough scenes for a page.
SCENES = 2
# Every user downloads the pictures, and ComfyUI shows them in a narrow panel.
WIDEST, QUALITY = 900, 70


@dataclass(frozen=True)
class Strip:
    """Panels of the sheet of annotators, side by side.

    Attributes:
        name: Name of the picture.
        titles: Titles of the panels, from :data:`sheet_annotators.PANELS`.
        photograph: Photograph of the subject, from :data:`sheet_annotators.SUBJECTS`.
    """

    name: str
    titles: tuple[str, ...]
    photograph: str = "astronaut"


STRIPS = (
    Strip("canny", ("photograph", "Canny 100, 200", "Canny 40, 110")),
    Strip("drawing", ("a drawing on paper", "Clean Sketch, threshold"), "coffee"),
    Strip("lines", ("photograph", "Clean Sketch, line art", "Clean Sketch, xdog", "Clean Sketch, xdog, line width 3")),
    Strip("gray", ("photograph", "Gray")),
    Strip("palette", ("photograph", "Palette, as trained", "Palette, area", "Palette, median")),
    Strip("paint", ("photograph", "Paint Segmentation")),
    Strip("depth", ("photograph", "Normalize Depth, midas", "Normalize Depth, zoe")),
    Strip("pose", ("photograph", "Draw Pose, openpose", "Draw Pose, openpose bgr", "Draw Pose, keypose")),
)  # fmt: skip


def strips() -> dict[str, Image.Image]:
    """Draw the annotators' pictures."""
    made = {subject.photograph: dict(sheet_annotators.panels(subject)) for subject in sheet_annotators.SUBJECTS}
    return {
        row.name: sheet_annotators.lay_out(
            [(title, made[row.photograph][title]) for title in row.titles], len(row.titles)
        )
        for row in STRIPS
    }


def first_scenes(sheet: Image.Image) -> Image.Image:
    """Cut the first rows out of a sheet of the gallery."""
    return sheet.crop((0, 0, sheet.width, gallery.HEAD + SCENES * (gallery.CELL + gallery.GAP)))


def main(arguments: list[str]) -> int:
    """Write the pictures."""
    out = Path(arguments[0]) if arguments else OUT
    out.mkdir(parents=True, exist_ok=True)
    pictures = strips()
    for name in gallery.SHEETS:
        with Image.open(gallery.OUT / f"{name}.jpg") as sheet:
            pictures[name] = first_scenes(sheet)
    for name, picture in pictures.items():
        picture.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
        picture.save(out / f"{name}.jpg", quality=QUALITY)
    return 0
