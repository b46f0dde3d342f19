"""List samples (pictures with captions and condition maps) in folders and tar shards without reading them.

A sample is a group of files with one name: ``cat.png``, ``cat.txt`` and optionally ``cat.cond.png`` or
``conditions/cat.png``. Tar shards are in the format of the webdataset library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from .coco import captions_beside
from .grouping import IN_FOLDERS, IN_SHARDS, SHARD, Gathering
from .layouts import holds_maps, map_folders_beside, source_folders, split_at_maps
from .parts import FilePart, Listing, Sample, SampleError, Skipped
from .tables import TableReader
from .walk import HIDDEN, Walk

__all__ = [
    "IN_FOLDERS",
    "IN_SHARDS",
    "SHARD",
    "FilePart",
    "Listing",
    "Sample",
    "SampleError",
    "Skipped",
    "gather",
    "list_folder",
]
# Folder name under which maps from a neighbouring folder are listed.
_CONDITIONS_FOLDER = "conditions"


def gather(
    parts: Iterable[FilePart],
    prefix: str = "",
    pattern: re.Pattern[str] = IN_FOLDERS,
    reader: TableReader | None = None,
) -> Listing:
    """Group files by name.

    Args:
        parts: Files with names relative to the data set's root.
        prefix: Prefix of the samples' names.
        pattern: Pattern of file names.
        reader: Reads the tables; by default those of all formats.

    Returns:
        The samples in the order of their first file.
    """
    visible = [part for part in parts if not any(piece.startswith(HIDDEN) for piece in part.name.split("/"))]
    # Paths of many files would take most of the memory.
    sources = source_folders(PurePosixPath(part.name) for part in visible)
    gathering = Gathering(pattern, sources, reader or TableReader())
    for part in visible:
        gathering.add(part, PurePosixPath(part.name))
    gathering.read_tables()
    gathering.assign_neighbouring_maps()
    return gathering.listing(prefix)


def list_folder(folder: Path, reader: TableReader | None = None) -> Listing:
    """List the samples of a folder and its subfolders, following links.

    Args:
        folder: Folder of pictures; condition maps may also be in a folder such as ``conditions`` beside it.
        reader: Reads the tables; by default those of all formats.

    Returns:
        The samples, sorted by name.
    """
    walk = Walk(folder, holds_maps).run()
    parts = walk.parts
    inside = any(split_at_maps(PurePosixPath(part.name), frozenset()) is not None for part in parts)
    for other in map_folders_beside(folder):
        if inside:
            walk.skipped.append(Skipped(str(other), "a folder of condition maps; those inside the data set are used"))
            continue
        there = Walk(other, holds_maps).run()
        walk.skipped += there.skipped
        parts += [replace(part, name=f"{_CONDITIONS_FOLDER}/{part.name}") for part in there.parts]
    for path in captions_beside(folder):
        stat = path.stat()
        parts.append(FilePart(path.name, path, stat.st_size, 0, stat.st_mtime_ns))
    listing = gather(parts, reader=reader)
    return Listing(listing.samples, (*walk.skipped, *listing.skipped))
