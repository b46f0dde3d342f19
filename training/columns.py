"""The columns of tables that name pictures, captions and condition maps."""

from __future__ import annotations

from dataclasses import dataclass

from .parts import FilePart

# Names of columns; the first one in a table is used; "conditioning_image_file_name" is read as "conditioning_image".
PICTURE = ("file_name", "image", "target", "picture")
TAGS = "tags"
CAPTION = ("text", "caption", "captions", "prompt", TAGS)
CONDITION = ("conditioning_image", "conditioning", "condition", "cond", "control_image", "control", "source")
ENDINGS = ("_file_name", "_path")


@dataclass(frozen=True)
class Row:
    """A picture's row in a table.

    Attributes:
        where: The row's position, for messages.
        picture: Path relative to the table's folder or one above it, possibly without suffix; or the picture itself.
        captions: The captions; empty if there are none.
        condition: The condition map, like the picture; None if missing.
        folders: Folders below those that the picture may be in.
        lacking: Hint for the user if there are no captions.
    """

    where: str
    picture: str | FilePart
    captions: tuple[str, ...] = ()
    condition: str | FilePart | None = None
    folders: tuple[str, ...] = ("",)
    lacking: str = ""


def column_name(name: str) -> str:
    """Return a column's name as the tuples above have it."""
    short = name.strip().lower()
    for ending in ENDINGS:
        short = short.removesuffix(ending) or short
    return "file_name" if short == "file" else short
