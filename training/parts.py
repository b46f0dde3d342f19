"""Samples on the disk: pictures with their captions and condition maps, known by where they lie and not yet read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

Stamp = tuple[str, int, int, int]
PICTURES = ("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff")
# Other files that are meant as condition maps: a sample with one that can't be read is left out, not drawn anew.
OTHERS = ("exr", "hdr", "npy", "npz", "pfm", "pgm", "ppm", "mat", "pt", "gif", "avif", "heic", "jxl", "jp2", "svg")


class SampleError(ValueError):
    """A sample can't be used; the others can."""


@dataclass(frozen=True)
class FilePart:
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
    def stamp(self) -> Stamp:
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
class Written:
    """A caption that a table holds for many pictures.

    Attributes:
        name: What the user knows it by.
        text: The caption.
    """

    name: str
    text: str

    @property
    def stamp(self) -> Stamp:
        """What changes when the caption does."""
        data = self.text.encode("utf-8", "surrogatepass")
        return self.name, len(data), 0, int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Sample:
    """A picture and what belongs to it.

    Attributes:
        name: What the user knows it by.
        picture: The picture.
        caption: What it shows; None where it is missing.
        condition: The condition map, or None.
        lacking: What else to tell the user where the caption is missing.
    """

    name: str
    picture: FilePart
    caption: FilePart | Written | None
    condition: FilePart | None
    lacking: str = ""

    @property
    def stamp(self) -> list[Stamp | None]:
        """What changes when any of it is replaced."""
        return [None if part is None else part.stamp for part in (self.picture, self.caption, self.condition)]

    def prompt(self) -> str:
        """Read the caption.

        Raises:
            SampleError: There is none, or it is no text.
        """
        if self.caption is None:
            raise SampleError(f"no caption (.txt, .caption or .json){self.lacking}")
        if isinstance(self.caption, Written):
            return self.caption.text.strip()
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
