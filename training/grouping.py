"""Group files into samples by their names, and assign the captions and maps of tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from .columns import Row
from .layouts import split_at_maps
from .naming import Elsewhere, Names
from .parts import OTHERS, PICTURES, UNREAD, FilePart, Listing, Sample, Skipped, Written
from .tables import MAYBE, TABLES, TableReader

SHARD = "tar"
CAPTIONS = ("txt", "caption", "json")
# In folders, names may contain dots. In webdataset's shards, text between two dots is a field of the sample.
IN_FOLDERS = re.compile(r"(?P<stem>.+?)(?P<mark>\.cond|\.condition)?\.(?P<suffix>[^.]+)", re.IGNORECASE)
IN_SHARDS = re.compile(r"(?P<stem>[^.]+)(?P<mark>\.cond|\.condition)?\.(?P<suffix>[^.]+)", re.IGNORECASE)
# Up to this number, missing pictures of a table are named one by one.
FEW = 10
# Longest quote of a table's file name in a message.
LONGEST = 200
# Beginning of the hint for a picture without a caption that looks like the map of another one.
MAYBE_A_MAP = "; if it is the condition map of"
# Names of kohya's folders: the number of repeats and the subject.
REPEATED = re.compile(r"\d+_.+")


@dataclass(slots=True)
class Group:
    """Files with the same name.

    Attributes:
        pictures: Candidates for the picture.
        captions: Captions by suffix; empty for a table's caption.
        conditions: Candidates for the condition map.
        above: Number of folders above the folder of maps that one of the files is in.
        lacking: Hint for the user if the caption is missing.
    """

    pictures: list[FilePart] = field(default_factory=list)
    captions: dict[str, FilePart | Written] = field(default_factory=dict)
    conditions: list[FilePart] = field(default_factory=list)
    above: int | None = None
    lacking: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether no file is left in it."""
        return not (self.pictures or self.captions or self.conditions)


@dataclass
class Gathering:
    """Groups files into samples.

    Attributes:
        pattern: Pattern of file names.
        sources: Folders ``source`` with maps.
        groups: Groups by name.
        files: Pictures and maps by path, with their group's name.
        reader: Reads tables.
        tables: Tables of captions and maps.
        skipped: Unusable files.
    """

    pattern: re.Pattern[str]
    sources: frozenset[PurePosixPath]
    reader: TableReader = field(default_factory=TableReader)
    groups: dict[str, Group] = field(default_factory=dict)
    files: dict[str, tuple[FilePart, str]] = field(default_factory=dict)
    tables: list[FilePart] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, part: FilePart, path: PurePosixPath) -> None:
        """Add a file to its group."""
        match = self.pattern.fullmatch(path.name)
        if match is None:
            if path.suffix.lower().removeprefix(".") in PICTURES:
                mark = f"{path.name.split('.')[0]}.cond.png"
                self.skipped.append(Skipped(part.name, f"a picture that is not read; a condition map is called {mark}"))
            return
        suffix, above = match["suffix"].lower(), split_at_maps(path, self.sources)
        folders = path.parts[:-1] if above is None else (*path.parts[:above], *path.parts[above + 1 : -1])
        marked = above is not None or bool(match["mark"])
        if suffix in TABLES:
            self.tables.append(part)
        elif suffix in (*PICTURES, *(OTHERS if marked else CAPTIONS)):
            name = "/".join((*folders, match["stem"]))
            group = self.groups.setdefault(name, Group())
            group.above = group.above if above is None else above
            if suffix in CAPTIONS:
                group.captions.setdefault(suffix, part)
                return
            self.files[part.name] = part, name
            (group.conditions if marked else group.pictures).append(part)
        else:
            self.skipped += _unread(part, path)

    def read_tables(self) -> None:
        """Assign captions and maps from tables to pictures."""
        tables = [(part, *self.reader.read(part)) for part in self.tables]
        for name, group in list(self.groups.items()):
            part = group.captions.get(MAYBE)
            if isinstance(part, FilePart) and not group.pictures and not group.conditions:
                rows, skipped = self.reader.read(part)
                if rows or skipped:
                    tables.append((part, rows, skipped))
                    del self.groups[name]
        if not tables:
            return
        names = Names(self.files, (part.name for group in self.groups.values() for part in group.pictures))
        for table, rows, skipped in tables:
            self.skipped += skipped
            missing = [row for row in rows if not self._apply(row, table, names)]
            self.skipped += _missing(table, missing, len(rows))

    def _apply(self, row: Row, table: FilePart, names: Names) -> bool:
        """Assign a row's caption and map to its picture; return whether there is one."""
        folder = PurePosixPath(table.name).parent
        found = self._find(row, table, names)
        if found is None:
            return False
        part, group = found
        group.pictures.sort(key=lambda other: other is not part)
        group.lacking = row.lacking
        if row.captions and group.captions.setdefault("", Written(row.where, row.captions)).name != row.where:
            self.skipped.append(Skipped(row.where, f"another caption of {part.name} is used"))
        if isinstance(row.condition, FilePart):
            group.conditions.append(row.condition)
        elif row.condition:
            self._apply_map(row, group, self.files.get(names.find(folder, row.condition) or ""))
        return True

    def _find(self, row: Row, table: FilePart, names: Names) -> tuple[FilePart, Group] | None:
        """Return a row's picture and its group, a new one for a picture in the table."""
        path = PurePosixPath(table.name)
        if isinstance(row.picture, FilePart):
            group = self.groups.setdefault(f"{path.with_suffix('')}/{row.picture.offset:07}", Group())
            group.pictures.append(row.picture)
            return row.picture, group
        part, name = self.files.get(names.find(path.parent, row.picture, row.folders) or "", (None, ""))
        owner = self.groups.get(name)
        return None if part is None or owner is None or part not in owner.pictures else (part, owner)

    def _apply_map(self, row: Row, group: Group, found: tuple[FilePart, str] | None) -> None:
        if found is None:
            # Skip the sample instead of annotating it: the table names a map.
            self.skipped.append(Skipped(row.where, f"no condition map {str(row.condition)[:LONGEST]}"))
            group.pictures.clear()
            group.captions.clear()
            return
        part, owner = found
        other = self.groups.get(owner, group)
        if other is not group:
            other.pictures = [one for one in other.pictures if one is not part]
            other.conditions = [one for one in other.conditions if one is not part]
        group.conditions = [part, *(one for one in group.conditions if one is not part)]

    def assign_neighbouring_maps(self) -> None:
        """Assign maps in a neighbouring folder to pictures: ``conditions/cat`` to ``images/cat``."""
        homeless = {
            name: group
            for name, group in self.groups.items()
            if group.conditions and not group.pictures and group.above is not None
        }
        if not homeless:
            return
        elsewhere = Elsewhere(name for name, group in self.groups.items() if group.pictures)
        for name, group in homeless.items():
            found = elsewhere.with_a_folder(name, group.above or 0)
            if len(found) == 1:
                self.groups[found[0]].conditions += group.conditions
            elif found:
                reason = f"a condition map for {found[0]} or for {found[1]}"
                self.skipped += [Skipped(part.name, reason) for part in group.conditions]
            if found:
                group.conditions.clear()

    def listing(self, prefix: str) -> Listing:
        """Return the samples and the skipped files."""
        groups = {name: group for name, group in self.groups.items() if not group.is_empty}
        told = {name for name, group in groups.items() if group.pictures and group.captions}
        elsewhere = Elsewhere(told if any(not group.captions for group in groups.values()) else ())
        listings = [_sample(name, group, prefix, elsewhere) for name, group in groups.items()]
        return Listing.joined([*listings, Listing((), tuple(self.skipped))])


def _missing(table: FilePart, rows: Sequence[Row], count: int) -> list[Skipped]:
    """Return what is said of a table's rows whose pictures are not there."""
    if len(rows) == count > FEW:
        return [Skipped(table.name, f"none of the {count} pictures that it names is there, such as {_quoted(rows[0])}")]
    return [Skipped(row.where, f"no picture {_quoted(row)}") for row in rows]


def _quoted(row: Row) -> str:
    return str(row.picture)[:LONGEST]


def _unread(part: FilePart, path: PurePosixPath) -> list[Skipped]:
    suffix = path.suffix.lower().removeprefix(".")
    reasons = [row.reason for row in UNREAD if suffix in row.suffixes]
    # Shards directly in the folder are listed apart.
    if suffix == SHARD and len(path.parts) > 1:
        reasons.append("a shard in a subfolder, which is not read: name the subfolder itself")
    return [Skipped(part.name, reason) for reason in reasons]


def _sample(name: str, group: Group, prefix: str, elsewhere: Elsewhere) -> Listing:
    if not group.pictures:
        found = "caption" if group.captions else "condition map"
        return Listing((), (Skipped(prefix + name, f"a {found} without a picture"),))
    more = (*group.pictures[1:], *group.conditions[1:])
    skipped = tuple(Skipped(part.name, f"another file of the sample {prefix + name} is used") for part in more)
    caption = next((group.captions[suffix] for suffix in (*CAPTIONS, "") if suffix in group.captions), None)
    condition = next(iter(group.conditions), None)
    lacking = (group.lacking or _lacking(name, elsewhere)) if caption is None else ""
    return Listing((Sample(prefix + name, group.pictures[0], caption, condition, lacking),), skipped)


def _lacking(name: str, elsewhere: Elsewhere) -> str:
    """Return a hint for a picture without a caption."""
    others = elsewhere.in_another_folder(name)
    if others:
        return f"{MAYBE_A_MAP} {others[0]}, call its folder conditions"
    if REPEATED.fullmatch(PurePosixPath(name).parent.name):
        return "; the name of a folder, as kohya's scripts take it, is none"
    return ""
