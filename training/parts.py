"""Samples on the disk, not yet read: pictures with their captions and condition maps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

Stamp = tuple[str, int, int, int]
PICTURES = ("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff")
# Other formats of condition maps: a sample with one that can't be read is skipped, not annotated.
OTHERS = ("exr", "hdr", "npy", "npz", "pfm", "pgm", "ppm", "mat", "pt", "gif", "avif", "heic", "jxl", "jp2", "svg")


@dataclass(frozen=True)
class Unread:
    """Files that are data, but that are not read.

    Attributes:
        suffixes: Their suffixes.
        reason: What they are, and what to do.
    """

    suffixes: tuple[str, ...]
    reason: str


# Other files, such as notes, are no data. Scripts keep their caches as .npz and .npy beside pictures.
UNREAD = (
    Unread(
        ("gz", "tgz", "xz", "txz", "bz2", "tbz", "zst", "lz4", "zip", "7z", "rar"),
        "a compressed file, which is not read: repack shards as .tar without compression, or unpack it",
    ),
    Unread(
        ("gif", "apng", "avif", "heic", "heif", "jxl", "jp2", "jfif", "jpe", "svg", "psd", "tga", "ico"),
        "a picture in a format that is not read: save it as .png or .jpg",
    ),
    Unread(
        ("exr", "hdr", "pfm", "pgm", "ppm", "pnm", "dng", "cr2", "cr3", "nef", "arw", "raf"),
        "a picture in a format that is not read: save it as .png or .jpg",
    ),
    Unread(("mp4", "mov", "mkv", "avi", "webm"), "a video, which is not read: save its frames as pictures"),
    Unread(("arrow",), "an .arrow file, which is not read: save pictures as files, or as .parquet"),
)


class SampleError(ValueError):
    """A sample is unusable; the others are not affected."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file, or a range of bytes in one.

    Attributes:
        name: Name in messages.
        path: The file; a text where there are many, which takes a fifth of a Path's memory.
        size: Number of bytes.
        offset: Offset of the first byte.
        changed: Modification time of the file in nanoseconds.
    """

    name: str
    path: Path | str
    size: int
    offset: int = 0
    changed: int = 0

    @property
    def stamp(self) -> Stamp:
        """A value that changes when the bytes are replaced."""
        return self.name, self.size, self.offset, self.changed

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            SampleError: The bytes can't be read, or the file is too short.
        """
        try:
            with Path(self.path).open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise SampleError(f"{self.name} can't be read: {error}") from error
        if len(data) != self.size:
            raise SampleError(f"{self.name} is cut short: {len(data)} of {self.size} bytes")
        return data


@dataclass(frozen=True)
class Written:
    """Captions from a table, or from the user.

    Attributes:
        name: Name in messages.
        texts: The captions; at least one.
    """

    name: str
    texts: tuple[str, ...]

    @property
    def stamp(self) -> Stamp:
        """A value that changes when the captions do."""
        data = "\0".join(self.texts).encode("utf-8", "surrogatepass")
        return self.name, len(data), 0, int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture with its caption and condition map.

    Attributes:
        name: Name in messages.
        picture: The picture.
        caption: The caption; None if missing.
        condition: The condition map; None if missing.
        lacking: Hint for the user if the caption is missing.
        mirrored: The example shows the picture and its map mirrored, left to right.
    """

    name: str
    picture: FilePart
    caption: FilePart | Written | None
    condition: FilePart | None
    lacking: str = ""
    mirrored: bool = False

    @property
    def stamp(self) -> list[Stamp | str | None]:
        """A value that changes when any of the files is replaced."""
        parts = (self.picture, self.caption, self.condition)
        return [*(None if part is None else part.stamp for part in parts), *(["mirrored"] if self.mirrored else [])]

    def prompt(self) -> str:
        """Read the caption, the first one of several; see :meth:`prompts`."""
        return self.prompts()[0]

    def prompts(self) -> tuple[str, ...]:
        """Read the captions, of which training draws one each time it uses the picture.

        Raises:
            SampleError: The caption is missing or not text.
        """
        if self.caption is None:
            raise SampleError(f"no caption (.txt, .caption or .json){self.lacking}")
        if isinstance(self.caption, Written):
            return tuple(text.strip() for text in self.caption.texts)
        try:
            found: Any = self.caption.read().decode("utf-8-sig")
            if PurePosixPath(self.caption.name).suffix.lower() == ".json":
                found = json.loads(found)["caption"]
        except UnicodeDecodeError as error:
            raise SampleError(f"{self.caption.name} is not UTF-8") from error
        except (ValueError, LookupError, TypeError) as error:
            raise SampleError(f"{self.caption.name} is not JSON with a caption") from error
        texts = found if isinstance(found, list) and found else [found]
        if not all(isinstance(text, str) for text in texts):
            raise SampleError(f"{self.caption.name} has a caption that is not text")
        return tuple(text.strip() for text in texts)


@dataclass(frozen=True)
class Skipped:
    """A skipped sample or file.

    Attributes:
        name: Name of the sample or file.
        reason: Why it is skipped.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class Listing:
    """The samples of a data set.

    Attributes:
        samples: The samples, in the order they were found.
        skipped: Files that are not part of a sample.
    """

    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...] = ()

    @staticmethod
    def joined(listings: Iterable[Listing]) -> Listing:
        """Concatenate listings."""
        parts = list(listings)
        samples = tuple(sample for part in parts for sample in part.samples)
        return Listing(samples, tuple(one for part in parts for one in part.skipped))
