"""Tables of a data set name pictures, captions and condition maps; each format is a row of :data:`LAYOUTS`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from .coco import NO_CAPTIONS, UNCAPTIONED, coco_rows, is_coco
from .columns import CAPTION, CONDITION, PICTURE, TAGS, Row, column_name
from .parquet import PackedCells, parquet_rows
from .parts import OTHERS, PICTURES, FilePart, SampleError, Skipped

# Files with these suffixes are tables; .json files may be captions.
TABLES, MAYBE = ("jsonl", "csv", "parquet"), "json"
# Largest table of text in bytes; such tables are read into memory.
LARGEST = 1 << 30
ANY_FORMAT = "auto"


@dataclass(eq=False)
class Document:
    """A file that may be a table.

    Attributes:
        part: The file.
        cells: Reads pictures in it.
    """

    part: FilePart
    cells: PackedCells

    @property
    def name(self) -> str:
        """Name of the file without its folders."""
        return PurePosixPath(self.part.name).name

    @property
    def suffix(self) -> str:
        """Suffix in lower case, without the dot."""
        return PurePosixPath(self.part.name).suffix.lower().removeprefix(".")

    @cached_property
    def text(self) -> str:
        """The content; raises SampleError or UnicodeDecodeError."""
        if self.part.size > LARGEST:
            raise SampleError(f"a table of {self.part.size} bytes, more than {LARGEST}")
        return self.part.read().decode("utf-8-sig")

    @cached_property
    def whole(self) -> Any:
        """The JSON value of the whole content; None if it isn't one."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None


@dataclass(frozen=True)
class TableLayout:
    """A format of tables.

    Attributes:
        name: Name that the user chooses.
        suffixes: Suffixes of its files.
        fits: Whether a file with such a suffix is in this format.
        rows: Yields the rows, and the entries that can't be used.
    """

    name: str
    suffixes: tuple[str, ...]
    fits: Callable[[Document], bool]
    rows: Callable[[Document], Iterable[Row | Skipped]]


def _csv_rows(table: Document) -> Iterator[Row | Skipped]:
    reader = csv.DictReader(io.StringIO(table.text, newline=""))
    for values in reader:
        yield _row(f"{table.part.name}, line {reader.line_num}", values)


def _line_rows(table: Document) -> Iterator[Row | Skipped]:
    for number, line in enumerate(table.text.splitlines(), 1):
        if line.strip():
            yield _row(f"{table.part.name}, line {number}", _value(line))


def _list_rows(table: Document) -> Iterator[Row | Skipped]:
    for number, values in enumerate(table.whole, 1):
        yield _row(f"{table.part.name}, entry {number}", values)


def _named_rows(table: Document) -> Iterator[Row | Skipped]:
    for number, (name, values) in enumerate(table.whole.items(), 1):
        yield _row(f"{table.part.name}, entry {number}", {PICTURE[0]: name, **values})


def _of_objects(table: Document) -> bool:
    whole = table.whole
    return isinstance(whole, dict) and bool(whole) and all(isinstance(values, dict) for values in whole.values())


# The first row that fits a file reads it.
LAYOUTS = (
    TableLayout("parquet", ("parquet",), lambda _: True, lambda table: parquet_rows(table.part, table.cells)),
    TableLayout("imagefolder", ("csv",), lambda _: True, _csv_rows),
    TableLayout("imagefolder", ("jsonl",), lambda table: not isinstance(table.whole, list), _line_rows),
    # A key of kohya's meta_cap.json is the picture's path.
    TableLayout("kohya", ("json", "jsonl"), _of_objects, _named_rows),
    TableLayout(
        "coco",
        ("json",),
        lambda table: is_coco(table.name, table.whole),
        lambda table: coco_rows(table.part.name, table.whole),
    ),
    TableLayout("imagefolder", ("json", "jsonl"), lambda table: isinstance(table.whole, list), _list_rows),
    # ControlNet's prompt.json has an object in each line.
    TableLayout("controlnet", ("json",), lambda _: True, _line_rows),
)
TABLE_FORMATS = tuple(sorted({row.name for row in LAYOUTS}))


@dataclass(frozen=True)
class TableReader:
    """Reads the tables of a data set.

    Attributes:
        told: Name of the only format to read; :data:`ANY_FORMAT` for all.
        cells: Reads pictures in tables.
        used: Names of the formats of the tables read.
    """

    told: str = ANY_FORMAT
    cells: PackedCells = field(default_factory=PackedCells)
    used: set[str] = field(default_factory=set)

    def read(self, part: FilePart) -> tuple[list[Row], list[Skipped]]:
        """Read a table.

        Args:
            part: A file with a suffix of :data:`TABLES`, or :data:`MAYBE`.

        Returns:
            The rows, and the skipped entries. Both are empty if a ``.json`` file is not a table.
        """
        table = Document(part, self.cells)
        if UNCAPTIONED.fullmatch(table.name):
            return [], [Skipped(part.name, NO_CAPTIONS)]
        rows: list[Row] = []
        skipped: list[Skipped] = []
        try:
            layout = next(row for row in LAYOUTS if table.suffix in row.suffixes and row.fits(table))
            if self.told not in (ANY_FORMAT, layout.name):
                reason = f"a table in another format ({layout.name}) than {self.told}, which is asked for"
                return [], [] if table.suffix == MAYBE else [Skipped(part.name, reason)]
            for row in layout.rows(table):
                (rows if isinstance(row, Row) else skipped).append(row)  # type: ignore[arg-type]
            self.used.update([layout.name] if rows else [])
        except (SampleError, UnicodeDecodeError, csv.Error, RecursionError) as error:
            reason = str(error) if "pyarrow:" in str(error) else f"a table that can't be read ({error})"
            skipped.append(Skipped(part.name, reason))
        if rows or table.suffix == MAYBE:
            return rows, skipped if rows or is_coco(table.name, None) else []
        return [], skipped[:1] or [Skipped(part.name, "an empty table")]


def _value(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _row(where: str, values: Any) -> Row | Skipped:
    if not isinstance(values, Mapping):
        return Skipped(where, "not a JSON object")
    columns: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(name, str) and value:
            columns.setdefault(column_name(name), value)
    texts = {name: value for name, value in columns.items() if isinstance(value, str)}
    picture = next((texts[name] for name in PICTURE if name in texts), None)
    condition = next((texts[name] for name in CONDITION if name in texts), None)
    if picture is None:
        return Skipped(where, f"no column with a picture's name ({', '.join(PICTURE)})")
    captions, lacking = _captions(where, columns)
    # Other tables use such column names for a picture's origin.
    named = condition is not None and PurePosixPath(condition).suffix.lower().removeprefix(".") in (*PICTURES, *OTHERS)
    return Row(where, picture, captions, condition if named else None, lacking=lacking)


def _captions(where: str, columns: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """Return a row's captions, and what is wrong with them."""
    lacking = ""
    for name in CAPTION:
        value = columns.get(name, ())
        texts = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not all(isinstance(text, str) for text in texts):
            lacking = lacking or f"; {where} has a {name} that is not text, or a list of texts"
        elif texts:
            # Tags describe a picture together; captions do one by one.
            return (", ".join(texts),) if name == TAGS else texts, ""
    return (), lacking
