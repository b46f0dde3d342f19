"""Samples on the disk: pictures with their captions and condition maps, listed without being read.

A sample is a group of files with one name: ``cat.png``, ``cat.txt`` and, where there is one, ``cat.cond.png`` or
``conditions/cat.png``. They lie in a folder or in tar shards, as the webdataset library writes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

PICTURES = ("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff")
CAPTIONS = ("txt", "caption", "json")
# The folder of condition maps, where they have no mark before their suffix.
CONDITIONS = "conditions"
# People put dots into names; webdataset takes what stands between two of them for another field of the sample.
IN_FOLDERS = re.compile(r"(?P<stem>.+?)(?P<mark>\.cond|\.condition)?\.(?P<suffix>[^.]+)", re.IGNORECASE)
IN_SHARDS = re.compile(r"(?P<stem>[^.]+)(?P<mark>\.cond|\.condition)?\.(?P<suffix>[^.]+)", re.IGNORECASE)


class SampleError(ValueError):
    """A sample can't be used; the others can."""


@dataclass(frozen=True)
class Part:
    """Bytes on the disk: a file, or a piece of one.

    Attributes:
        name: What the user knows it by.
        path: The file.
        size: How many bytes.
        offset: Where they begin.
        changed: When the file was last written, in nanoseconds.
    """

    name: str
    path: Path
    size: int
    offset: int = 0
    changed: int = 0

    @property
    def stamp(self) -> tuple[str, int, int, int]:
        """What changes when the bytes are replaced."""
        return self.name, self.size, self.offset, self.changed

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            SampleError: They can't be read, or there are fewer.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise SampleError(f"{self.name} can't be read: {error}") from error
        if len(data) != self.size:
            raise SampleError(f"{self.name} is cut short: {len(data)} of {self.size} bytes")
        return data


@dataclass(frozen=True)
class Sample:
    """A picture and what belongs to it.

    Attributes:
        name: What the user knows it by.
        picture: The picture.
        caption: What it shows; None where it is missing.
        condition: The condition map, or None.
    """

    name: str
    picture: Part
    caption: Part | None
    condition: Part | None

    @property
    def stamp(self) -> list[tuple[str, int, int, int] | None]:
        """What changes when any of it is replaced."""
        return [None if part is None else part.stamp for part in (self.picture, self.caption, self.condition)]

    def prompt(self) -> str:
        """Read the caption.

        Raises:
            SampleError: There is none, or it is no text.
        """
        if self.caption is None:
            raise SampleError("no caption (.txt, .caption or .json)")
        try:
            text = self.caption.read().decode("utf-8-sig")
            if PurePosixPath(self.caption.name).suffix.lower() == ".json":
                text = json.loads(text)["caption"]
        except UnicodeDecodeError as error:
            raise SampleError(f"{self.caption.name} is not UTF-8") from error
        except (ValueError, LookupError, TypeError) as error:
            raise SampleError(f"{self.caption.name} is no JSON with a caption") from error
        if not isinstance(text, str):
            raise SampleError(f"{self.caption.name} has a caption that is no text")
        return text.strip()


@dataclass(frozen=True)
class Skipped:
    """What was left out.

    Attributes:
        name: The sample or file.
        reason: Why.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class Listing:
    """What was found.

    Attributes:
        samples: In the order in which they were found.
        skipped: What can't be samples.
    """

    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...] = ()

    @staticmethod
    def joined(listings: Iterable[Listing]) -> Listing:
        """Put listings one behind the other."""
        parts = list(listings)
        samples = tuple(sample for part in parts for sample in part.samples)
        return Listing(samples, tuple(one for part in parts for one in part.skipped))


@dataclass
class Group:
    """The files of one name, while they are gathered.

    Attributes:
        pictures: Candidates for the picture.
        captions: By suffix.
        conditions: Candidates for the condition map.
    """

    pictures: list[Part] = field(default_factory=list)
    captions: dict[str, Part] = field(default_factory=dict)
    conditions: list[Part] = field(default_factory=list)


def gather(parts: Iterable[Part], prefix: str = "", pattern: re.Pattern[str] = IN_FOLDERS) -> Listing:
    """Put the files of each name together.

    Args:
        parts: Files, with names relative to where they were found.
        prefix: What stands before the samples' names.
        pattern: How a file's name is read.

    Returns:
        The samples in the order of their first file.
    """
    groups: dict[str, Group] = {}
    for part in parts:
        path = PurePosixPath(part.name)
        if not any(piece.startswith((".", "__MACOSX")) for piece in path.parts):
            _sort_in(groups, part, path, pattern)
    listings = (_sample(prefix + key, group) for key, group in groups.items())
    return Listing.joined(listings)


def _sort_in(groups: dict[str, Group], part: Part, path: PurePosixPath, pattern: re.Pattern[str]) -> None:
    match = pattern.fullmatch(path.name)
    if match is None:
        return
    folder, suffix, marked = path.parent, match["suffix"].lower(), bool(match["mark"])
    if folder.name == CONDITIONS:
        folder, marked = folder.parent, True
    if suffix not in (PICTURES if marked else PICTURES + CAPTIONS):
        return
    group = groups.setdefault((folder / match["stem"]).as_posix(), Group())
    if marked:
        group.conditions.append(part)
    elif suffix in CAPTIONS:
        group.captions.setdefault(suffix, part)
    else:
        group.pictures.append(part)


def _sample(name: str, group: Group) -> Listing:
    if not group.pictures:
        kind = "caption" if group.captions else "condition map"
        return Listing((), (Skipped(name, f"a {kind} without a picture"),))
    more = (*group.pictures[1:], *group.conditions[1:])
    skipped = tuple(Skipped(part.name, f"another file of the sample {name} is used") for part in more)
    caption = next((group.captions[suffix] for suffix in CAPTIONS if suffix in group.captions), None)
    return Listing((Sample(name, group.pictures[0], caption, next(iter(group.conditions), None)),), skipped)


def list_folder(folder: Path) -> Listing:
    """List the samples of a folder and of the folders in it.

    Args:
        folder: With pictures; condition maps may also lie in a folder ``conditions`` beside it.

    Returns:
        The samples by name, so that the order is the same everywhere.
    """
    parts, beside = list(_files(folder)), folder.parent / CONDITIONS
    inside = any(CONDITIONS in PurePosixPath(part.name).parts for part in parts)
    if beside.is_dir() and not inside and folder.name != CONDITIONS:
        parts += [_into_conditions(part) for part in _files(beside)]
    return gather(parts)


def _into_conditions(part: Part) -> Part:
    path = PurePosixPath(part.name)
    return replace(part, name=(path.parent / CONDITIONS / path.name).as_posix())


def _files(folder: Path) -> Iterator[Part]:
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        if path.is_file():
            stat = path.stat()
            yield Part(path.relative_to(folder).as_posix(), path, stat.st_size, 0, stat.st_mtime_ns)
