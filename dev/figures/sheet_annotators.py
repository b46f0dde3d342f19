"""Make annotators.jpg: `python dev/tasks/launch.py dev.figures.sheet_annotators`, from photographs of scikit-image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image, ImageDraw, ImageFont

from ...annotators import keypoints, segmentation
from ...annotators.canny import canny
from ...annotators.depth import normalize_depth
from ...annotators.gray import gray
from ...annotators.palette import palette
from ...annotators.pose import draw_poses
from ...annotators.sketch import clean_sketch

OUT = Path(__file__).absolute().parents[2] / "docs" / "annotators.jpg"
SIDE, COLUMNS, GAP, TITLE = 512, 6, 8, 30
SHOWN = 0.5


@dataclass(frozen=True)
class Subject:
    """A photograph, with hand-made labels for what needs a network to find.

    Attributes:
        photograph: Name in skimage.data.
        left: Left edge of its square, as a fraction of the cropped width.
        areas: Label and polygon of each area, in fractions of the side, back to front.
        near: Depth of each area; 1 is nearest.
        body: The 18 joints of OpenPose in fractions of the side; empty if there is no person.
    """

    photograph: str
    left: float
    areas: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    near: tuple[float, ...]
    body: tuple[tuple[float, float] | None, ...] = ()


WHOLE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
SUBJECTS = (
    Subject(
        "astronaut",
        0.5,
        (
            ("wall-other", WHOLE),
            ("cloth", ((0.0, 0.0), (0.3, 0.0), (0.27, 0.3), (0.2, 0.62), (0.0, 0.65))),
            ("person", ((0.33, 0.06), (0.42, 0.01), (0.52, 0.04), (0.56, 0.18), (0.53, 0.3), (0.62, 0.36), (0.82, 0.44),
                        (0.93, 0.7), (0.97, 1.0), (0.08, 1.0), (0.12, 0.55), (0.22, 0.42), (0.38, 0.34), (0.33, 0.2))),
        ),
        (0.15, 0.3, 0.9),
        ((0.45, 0.24), (0.43, 0.42), (0.25, 0.46), (0.13, 0.78), (0.16, 0.97), (0.66, 0.43), (0.86, 0.7), (0.8, 0.97),
         (0.32, 0.97), None, None, (0.62, 0.97), None, None, (0.41, 0.19), (0.49, 0.19), (0.36, 0.21), (0.54, 0.2)),
    ),
    Subject(
        "coffee",
        0.5,
        (
            ("table", WHOLE),
            ("plate", tuple((0.5 + 0.45 * np.cos(a), 0.62 + 0.38 * np.sin(a)) for a in np.linspace(0, 6.28, 48))),
            ("cup", tuple((0.41 + 0.25 * np.cos(a), 0.4 + 0.34 * np.sin(a)) for a in np.linspace(0, 6.28, 48))),
        ),
        (0.3, 0.55, 0.9),
    ),
)  # fmt: skip
# A title and a picture.
Panel = tuple[str, Image.Image]
Pictures = Callable[[Subject, torch.Tensor], torch.Tensor | None]


def masks(subject: Subject) -> list[torch.Tensor]:
    """One (1, SIDE, SIDE) per area."""
    found = []
    for _, corners in subject.areas:
        canvas = Image.new("L", (SIDE, SIDE))
        ImageDraw.Draw(canvas).polygon([(x * SIDE, y * SIDE) for x, y in corners], fill=255)
        found.append(torch.from_numpy(np.array(canvas))[None].float() / 255)
    return found


def painted(subject: Subject, _: torch.Tensor) -> torch.Tensor | None:
    """The areas, painted one after the other."""
    canvas = None
    for (label, _), mask in zip(subject.areas, masks(subject), strict=True):
        canvas = segmentation.paint_mask(canvas, mask, label)
    return canvas


def depth(mode: str) -> Pictures:
    """Depth of the areas with the photograph's shading, in place of a network's depth."""

    def made(subject: Subject, photograph: torch.Tensor) -> torch.Tensor:
        disparity = torch.zeros(1, 1, SIDE, SIDE)
        for near, mask in zip(subject.near, masks(subject), strict=True):
            disparity = torch.where(mask > 0.5, near, disparity)
        slope = torch.linspace(0.0, 0.2, SIDE).view(1, 1, SIDE, 1)
        return normalize_depth(disparity + slope + 0.2, mode)

    return made


def pose(style: str) -> Pictures:
    """The body, if there is one."""

    def made(subject: Subject, _: torch.Tensor) -> torch.Tensor | None:
        if not subject.body:
            return None
        points = [value for point in subject.body for value in (*(point or (0.0, 0.0)), 1.0 if point else 0.0)]
        return draw_poses(keypoints.read_poses([{"people": [{"pose_keypoints_2d": points}]}], (SIDE, SIDE)), style)

    return made


def of_picture(annotate: Callable[[torch.Tensor], torch.Tensor]) -> Pictures:
    """Panels that need only the photograph."""
    return lambda _, photograph: annotate(photograph)


def drawing(image: torch.Tensor) -> torch.Tensor:
    """A drawing in blue ink on yellowish paper, as a scanner gives it."""
    ink, paper = (torch.tensor(colour).view(1, 3, 1, 1) for colour in ((0.1, 0.15, 0.5), (0.95, 0.92, 0.82)))
    return torch.lerp(paper, ink, clean_sketch(image, "line art", 0))


PANELS: tuple[tuple[str, Pictures], ...] = (
    ("photograph", of_picture(lambda image: image)),
    ("Canny 100, 200", of_picture(canny)),
    ("Canny 40, 110", of_picture(lambda image: canny(image, 40, 110))),
    ("Clean Sketch, line art", of_picture(lambda image: clean_sketch(image, "line art"))),
    ("Clean Sketch, xdog", of_picture(lambda image: clean_sketch(image, "xdog"))),
    ("Clean Sketch, xdog, line width 3", of_picture(lambda image: clean_sketch(image, "xdog", line_width=3))),
    ("a drawing on paper", of_picture(drawing)),
    ("Clean Sketch, threshold", of_picture(lambda image: clean_sketch(drawing(image)))),
    ("Gray", of_picture(gray)),
    ("Palette, as trained", of_picture(palette)),
    ("Palette, area", of_picture(lambda image: palette(image, 64, "area"))),
    ("Palette, median", of_picture(lambda image: palette(image, 64, "median"))),
    ("Paint Segmentation", painted),
    ("Normalize Depth, midas", depth("midas")),
    ("Normalize Depth, zoe", depth("zoe")),
    ("Draw Pose, openpose", pose("openpose")),
    ("Draw Pose, openpose bgr", pose("openpose bgr")),
    ("Draw Pose, keypose", pose("keypose")),
)


def main(arguments: list[str]) -> int:
    """Write the sheet."""
    found = [panels(subject) for subject in SUBJECTS]
    # Every subject starts a row.
    shown = [panel for each in found for panel in (*each, *[None] * (-len(each) % COLUMNS))]
    lay_out(shown, COLUMNS).save(Path(arguments[0]) if arguments else OUT, quality=85)
    return 0


def lay_out(shown: Sequence[Panel | None], columns: int) -> Image.Image:
    """Arrange panels in rows, each with its title above."""
    side = round(SIDE * SHOWN)
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * (side + GAP) + GAP, rows * (side + TITLE + GAP) + GAP), (32, 32, 36))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for number, panel in enumerate(shown):
        if panel is None:
            continue
        title, image = panel
        left, top = GAP + number % columns * (side + GAP), GAP + number // columns * (side + TITLE + GAP)
        draw.text((left, top + 6), title, (235, 235, 235), font)
        sheet.paste(image.resize((side, side), Image.Resampling.BOX), (left, top + TITLE))
    return sheet


def panels(subject: Subject) -> list[Panel]:
    """The annotators' panels of one subject."""
    photograph = Image.fromarray(getattr(skimage.data, subject.photograph)())
    short = min(photograph.size)
    left, top = (round(subject.left * (side - short)) for side in photograph.size)
    square = photograph.crop((left, top, left + short, top + short)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    image = torch.from_numpy(np.array(square)).movedim(-1, 0)[None].float() / 255
    made = [(title, picture(subject, image)) for title, picture in PANELS]
    return [(title, as_image(result)) for title, result in made if result is not None]


def as_image(result: torch.Tensor) -> Image.Image:
    """(1, 3, H, W) as a picture."""
    return Image.fromarray((result[0] * 255).round().byte().movedim(0, -1).numpy())
