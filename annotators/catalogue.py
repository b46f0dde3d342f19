"""Look up published weights files: by annotator, by name, by the entry that a user chose."""

from __future__ import annotations

from collections.abc import Iterable

from .published_files import DOWNLOAD, HUB, PublishedFile, how_to_get, megabytes
from .table import NETWORK_ANNOTATORS

__all__ = [
    "HUB",
    "PUBLISHED",
    "PublishedFile",
    "chosen_for_download",
    "how_to_get",
    "megabytes",
    "published_as",
    "published_for",
]
PUBLISHED = tuple(file for row in NETWORK_ANNOTATORS for file in row.files)


def published_for(annotator: str) -> tuple[PublishedFile, ...]:
    """Return the files of an annotator, the recommended first."""
    return tuple(row for row in PUBLISHED if row.annotator == annotator)


def published_as(name: str, rows: Iterable[PublishedFile] = PUBLISHED) -> PublishedFile | None:
    """Return the file with this name, in any folder, or None."""
    plain = name.replace("\\", "/").rpartition("/")[-1]
    return next((row for row in rows if row.file == plain), None)


def chosen_for_download(entry: str, rows: Iterable[PublishedFile] = PUBLISHED) -> PublishedFile | None:
    """Return the file that an entry like ``download: name (2.9 MB)`` names, or None.

    The text in brackets is ignored: a saved workflow can hold an entry from an older version with another size.
    """
    if not entry.startswith(DOWNLOAD):
        return None
    name = entry.removeprefix(DOWNLOAD).partition(" (")[0]
    return next((row for row in rows if row.file == name), None)
