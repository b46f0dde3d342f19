"""Find folders of condition maps by their usual names, in or beside the folder of the pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

MAPS = frozenset(
    {
        *("cond", "conds", "condition", "conditions", "condition_image", "condition_images", "condition_maps"),
        *("conditioning", "conditioning_image", "conditioning_images", "control_image", "control_images"),
    }
)
# ControlNet's layout: a folder ``source`` has maps only if a folder ``target`` with pictures is beside it.
SOURCES, TARGETS = ("source", "sources"), ("target", "targets")


def holds_maps(folder: str) -> bool:
    """Return whether a folder's name is a usual name for condition maps."""
    return folder.lower().replace("-", "_").replace(" ", "_") in MAPS


def source_folders(files: Iterable[PurePosixPath]) -> frozenset[PurePosixPath]:
    """Return the folders ``source`` that have a folder ``target`` beside them."""
    folders: set[PurePosixPath] = set()
    for folder in {path.parent for path in files}:
        folders.update((folder, *folder.parents))
    of_targets = {folder.parent for folder in folders if folder.name.lower() in TARGETS}
    return frozenset(one for one in folders if one.name.lower() in SOURCES and one.parent in of_targets)


def split_at_maps(path: PurePosixPath, sources: frozenset[PurePosixPath]) -> int | None:
    """Return the number of folders above the folder of maps that a file is in; None if it is not in one."""
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
    except OSError:  # a folder that can be entered but not listed
        return
    for other in others:
        if (holds_maps(other.name) or (is_target and other.name.lower() in SOURCES)) and (
            # A link to nothing is named as a folder that can't be read.
            other.is_dir() or other.is_symlink()
        ):
            yield other
