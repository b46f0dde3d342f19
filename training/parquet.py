"""Read pictures and captions from parquet files, as Hugging Face stores data sets; needs pyarrow."""

from __future__ import annotations

import bisect
import contextlib
import importlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from .columns import CAPTION, CONDITION, PICTURE, Row, column_name
from .parts import FilePart, SampleError, Skipped

# Groups of rows in memory: those of a picture and its map, and the next ones while several threads read.
GROUPS = 4


@dataclass(eq=False)
class PackedCells:
    """Reads cells of parquet files; keeps the groups of rows that it has read last.

    Attributes:
        groups: Columns of groups by file, column and group, oldest first.
        ends: The number of rows up to the end of each group, by file.
        lock: Held while groups are read or dropped.
    """

    groups: dict[tuple[Path, str, int], Any] = field(default_factory=dict)
    ends: dict[Path, list[int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, path: Path, column: str, number: int) -> bytes:
        """Return a cell's bytes.

        Args:
            path: The file.
            column: Name of the column.
            number: The row, from 0.

        Raises:
            SampleError: The cell is empty, or the file can't be read.
        """
        with _pyarrow(path.name) as parquet:
            if path not in self.ends:
                about = parquet.read_metadata(path)
                self.ends[path] = list(accumulate(about.row_group(one).num_rows for one in range(about.num_row_groups)))
            ends = self.ends[path]
            group = bisect.bisect_right(ends, number)
            # One thread reads a group, and the others wait for it.
            with self.lock:
                cells = self.groups.pop((path, column, group), None)
                if cells is None:
                    cells = parquet.ParquetFile(path).read_row_group(group, columns=[column]).column(0)
                self.groups[path, column, group] = cells
                for oldest in list(self.groups)[:-GROUPS]:
                    del self.groups[oldest]
            value = cells[number - (ends[group - 1] if group else 0)].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise SampleError(f"{path.name}, row {number + 1} has no picture in {column}")
        return data


@dataclass(frozen=True)
class PackedPart(FilePart):
    """A picture in a cell of a parquet file; ``offset`` is the row.

    Attributes:
        column: The column.
        cells: Reads the cell.
    """

    column: str = ""
    cells: PackedCells = field(default_factory=PackedCells, compare=False, repr=False)

    def read(self) -> bytes:
        """Return the bytes; see :meth:`FilePart.read`."""
        return self.cells.read(Path(self.path), self.column, self.offset)


def parquet_rows(part: FilePart, cells: PackedCells) -> Iterator[Row | Skipped]:
    """Yield the rows of a file: pictures in it or names of files, captions, and condition maps.

    Args:
        part: The file.
        cells: Reads the pictures later.

    Raises:
        SampleError: pyarrow is missing, or the file can't be read.
    """
    if part.offset:
        raise SampleError("a parquet file in a shard: store it beside the shard")
    with _pyarrow(part.name) as parquet:
        file = parquet.ParquetFile(part.path)
        columns = _columns(file.schema_arrow)
        if columns.picture is None:
            yield Skipped(part.name, f"no column with pictures ({', '.join(PICTURE)})")
            return
        number = 0
        for group in range(file.num_row_groups):
            texts = file.read_row_group(group, columns=columns.texts).to_pylist() if columns.texts else None
            for place in range(file.metadata.row_group(group).num_rows):
                yield _row(part, number, columns, texts[place] if texts else {}, cells)
                number += 1


@dataclass(frozen=True)
class Columns:
    """The columns of a file that are used.

    Attributes:
        picture: Column of the pictures.
        condition: Column of the condition maps.
        caption: Column of the captions.
        packed: Those of them that hold pictures' bytes.
    """

    picture: str | None
    condition: str | None
    caption: str | None
    packed: frozenset[str]

    @property
    def texts(self) -> list[str]:
        """The columns that are read while the data set is listed."""
        return [name for name in (self.picture, self.condition, self.caption) if name and name not in self.packed]


def _columns(schema: Any) -> Columns:
    types = {name: str(schema.field(name).type) for name in schema.names}
    packed = frozenset(name for name, kind in types.items() if "binary" in kind)
    usable = {column_name(name): name for name in reversed(schema.names) if name in packed or "string" in types[name]}
    first = [next((usable[one] for one in names if one in usable), None) for names in (PICTURE, CONDITION, CAPTION)]
    # Pictures in the file come before a column of their names.
    inside = next((usable[one] for one in PICTURE if usable.get(one) in packed), None)
    caption = None if first[2] in packed else first[2]
    return Columns(inside or first[0], first[1], caption, packed)


def _row(part: FilePart, number: int, columns: Columns, texts: dict[str, Any], cells: PackedCells) -> Row | Skipped:
    where = f"{part.name}, row {number + 1}"

    def pictured(column: str | None) -> FilePart | str | None:
        if column is None or column not in columns.packed:
            return texts.get(column or "") or None
        return PackedPart(f"{where}, {column}", part.path, part.size, number, part.changed, column, cells)

    picture, condition = pictured(columns.picture), pictured(columns.condition)
    found = texts.get(columns.caption or "")
    captions: Sequence[Any] = found if isinstance(found, list) else [found]
    written = tuple(text for text in captions if isinstance(text, str) and text)
    if picture is None:
        return Skipped(where, f"no name of a picture in {columns.picture}")
    return Row(where, picture, written, condition)


@contextlib.contextmanager
def _pyarrow(name: str) -> Iterator[Any]:
    """Yield pyarrow's module of parquet files, and turn its errors into SampleErrors."""
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise SampleError("a parquet file, which needs pyarrow: pip install pyarrow") from error
    damage = (importlib.import_module("pyarrow").ArrowException, OSError, LookupError)
    try:
        yield parquet
    except damage as error:
        raise SampleError(f"{name} can't be read: {str(error)[:200]}") from error
