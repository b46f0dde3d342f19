"""Tables that name pictures, captions and condition maps.

Hugging Face's ``metadata.jsonl`` and ``.csv``, ControlNet's ``prompt.json`` and kohya's ``meta_cap.json``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from .parts import OTHERS, PICTURES, FilePart, SampleError, Skipped

TABLES = ("jsonl", "csv")
# Tables that contain the pictures; reading them needs packages that ComfyUI does not ship.
PACKED = ("parquet", "arrow")
# Names of columns; the first one in a table is used; "conditioning_image_file_name" is read as "conditioning_image".
PICTURE = ("file_name", "image", "target", "picture")
CAPTION = ("text", "caption", "prompt", "tags")
CONDITION = ("conditioning_image", "conditioning", "condition", "cond", "control_image", "control", "source")
ENDINGS = ("_file_name", "_path")
# Largest table in bytes; tables are read into memory.
LARGEST = 1 << 30


@dataclass(frozen=True)
class Row:
    """A picture's row in a table.

    Attributes:
        where: The row's position, for messages.
        picture: Path relative to the table's folder, possibly without suffix.
        caption: The caption; None if missing.
        condition: Path of the condition map; None if missing.
    """

    where: str
    picture: str
    caption: str | None
    condition: str | None


def read_table(part: FilePart) -> tuple[list[Row], list[Skipped]]:
    """Read a table.

    Args:
        part: A file with a suffix from :data:`TABLES`, or ``json``.

    Returns:
        The rows, and the skipped entries. Both are empty if a ``.json`` file is not a table.
    """
    suffix = PurePosixPath(part.name).suffix.lower().removeprefix(".")
    rows: list[Row] = []
    skipped: list[Skipped] = []
    try:
        if part.size > LARGEST:
            raise SampleError(f"a table of {part.size} bytes, more than {LARGEST}")
        text = part.read().decode("utf-8-sig")
        for where, values in _csv(text) if suffix == "csv" else _json(text):
            row = _row(f"{part.name}, {where}", values)
            (rows if isinstance(row, Row) else skipped).append(row)  # type: ignore[arg-type]
    except (SampleError, UnicodeDecodeError, csv.Error, RecursionError) as error:
        skipped.append(Skipped(part.name, f"a table that can't be read ({error})"))
    if rows or suffix == "json":
        return rows, skipped if rows else []
    return [], skipped[:1] or [Skipped(part.name, "an empty table")]


def _csv(text: str) -> Iterator[tuple[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for row in reader:
        yield f"line {reader.line_num}", row


def _json(text: str) -> Iterator[tuple[str, Any]]:
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, list):
        yield from ((f"entry {number}", values) for number, values in enumerate(whole, 1))
    elif isinstance(whole, dict) and whole and all(isinstance(values, dict) for values in whole.values()):
        # kohya's format: the key is the picture's path.
        yield from ((f"entry {number}", {PICTURE[0]: name, **values}) for number, (name, values) in _numbered(whole))
    else:
        yield from ((f"line {number}", _line(line)) for number, line in enumerate(text.splitlines(), 1) if line.strip())


def _numbered(whole: Mapping[str, Any]) -> Iterable[tuple[int, tuple[str, Any]]]:
    return enumerate(whole.items(), 1)


def _line(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _row(where: str, values: Any) -> Row | Skipped:
    if not isinstance(values, Mapping):
        return Skipped(where, "not a JSON object")
    columns: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(name, str) and isinstance(value, str):
            short = name.strip().lower()
            for ending in ENDINGS:
                short = short.removesuffix(ending) or short
            columns.setdefault("file_name" if short == "file" else short, value)
    picture, caption, condition = (
        next((columns[name] for name in names if columns.get(name)), None) for names in (PICTURE, CAPTION, CONDITION)
    )
    if picture is None:
        return Skipped(where, f"no column with a picture's name ({', '.join(PICTURE)})")
    # Other tables use such column names for a picture's origin.
    named = condition is not None and PurePosixPath(condition).suffix.lower().removeprefix(".") in (*PICTURES, *OTHERS)
    return Row(where, picture, caption, condition if named else None)
