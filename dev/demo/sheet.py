"""The side-by-side sheet: sketch, without, with; one row per prompt."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

CELL = 256
GAP = 12
HEAD = 40
LABEL = 30
COLUMNS = ("sketch", "without adapter", "with T2I-Adapter")
INK = (24, 24, 27)
PAPER = (255, 255, 255)


def make(rows: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    """Return the sheet.

    Args:
        rows: For each row its label, and one picture for each of `COLUMNS`.
    """
    width = GAP + len(COLUMNS) * (CELL + GAP)
    sheet = Image.new("RGB", (width, HEAD + len(rows) * (CELL + LABEL + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(COLUMNS):
        middle = GAP + column * (CELL + GAP) + CELL // 2
        draw.text((middle, HEAD // 2), title, INK, ImageFont.load_default(20), anchor="mm")
    for row, (label, pictures) in enumerate(rows):
        top = HEAD + row * (CELL + LABEL + GAP)
        for column, picture in enumerate(pictures):
            fitted = enlarge(picture)
            left = GAP + column * (CELL + GAP)
            sheet.paste(fitted, (left + (CELL - fitted.width) // 2, top + (CELL - fitted.height) // 2))
        text, font = fit_text(draw, label, width - 2 * GAP)
        draw.text((width // 2, top + CELL + LABEL // 2), text, INK, font, anchor="mm")
    return sheet


def enlarge(picture: Image.Image) -> Image.Image:
    """Return a picture scaled to fit a cell."""
    scale = CELL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def fit_text(
    draw: ImageDraw.ImageDraw, text: str, width: int
) -> tuple[str, ImageFont.ImageFont | ImageFont.FreeTypeFont]:
    """Return a text, shortened if necessary, and a font in which it fits a width."""
    font = ImageFont.load_default(15)
    while draw.textlength(text, font) > width:
        text = text[:-4] + "…"
    return text, font
