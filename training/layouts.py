"""Where people keep condition maps: in folders of usual names, in or beside that of the pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

MAPS = frozenset(
    {
        *("cond", "conds", "condition", "conditions", "condition_image", "condition_images", "condition_maps"),
        *("conditioning", "conditioning_image", "conditioning_images", "control_image", "control_images"),
    }
)
# Folders of maps only where a folder of pictures of the other name is beside them, as in ControlNet's own data set.
SOURCES, TARGETS = ("source", "sources"), ("target", "targets")


def holds_maps(folder: str) -> bool:
    """Tell whether a folder's name says that it holds condition maps."""
    return folder.lower().replace("-", "_").replace(" ", "_") in MAPS


def source_folders(files: Iterable[PurePosixPath]) -> frozenset[PurePosixPath]:
    """Return the folders ``source`` that have a folder ``target`` beside them."""
    folders: set[PurePosixPath] = set()
    for folder in {path.parent for path in files}:
        folders.update((folder, *folder.parents))
    of_targets = {folder.parent for folder in folders if folder.name.lower() in TARGETS}
    return frozenset(one for one in folders if one.name.lower() in SOURCES and one.parent in of_targets)


def split_at_maps(path: PurePosixPath, sources: frozenset[PurePosixPath]) -> int | None:
    """Return how many folders stand above the folder of maps that a file lies in; None where it lies in none."""
    for number, folder in enumerate(path.parts[:-1]):
        if holds_maps(folder) or (sources and PurePosixPath(*path.parts[: number + 1]) in sources):
            return number
    return None


def map_folders_beside(folder: Path) -> Iterator[Path]:
    """Yield the folders of maps beside a folder of pictures."""
    place = Path(folder.absolute())
    if holds_maps(place.name):
        return
    is_target = place.name.lower() in TARGETS
    try:
        others = sorted(place.parent.iterdir())
    except OSError:  # a folder that can be entered and not listed
        return
    for other in others:
        if (holds_maps(other.name) or (is_target and other.name.lower() in SOURCES)) and other.is_dir():
            yield other
