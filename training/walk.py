"""Walk through a folder and its subfolders, following links."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .parts import FilePart, Skipped

# Prefixes of files that other programs leave beside pictures.
HIDDEN = (".", "__MACOSX")
# Path from the root, and the topmost folder of maps that it is in or is.
Folder = tuple[str, str]


@dataclass
class Walk:
    """Enter each folder once, so that circular links end the walk.

    Condition maps are an exception: several folders of maps may link to the same maps.

    Attributes:
        root: Folder to start from.
        is_maps: Returns from a folder's name whether it has condition maps.
        parts: The files so far.
        skipped: Folders that could not be entered.
        seen: The folders entered: the folder of maps that they are in, and their real path.
    """

    root: Path
    is_maps: Callable[[str], bool]
    parts: list[FilePart] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    seen: set[tuple[str, Path]] = field(default_factory=set)

    def run(self) -> Walk:
        """Walk, and return this."""
        # Real folders before links, so that a folder inside the root is listed by its own name.
        links = deque([("", "")])
        while links:
            folders = deque([links.popleft()])
            while folders:
                self._enter(*folders.popleft(), folders, links)
        self.parts.sort(key=lambda part: part.name)
        return self

    def _enter(self, name: str, maps: str, folders: deque[Folder], links: deque[Folder]) -> None:
        path = self.root / name
        real = Path(os.path.realpath(path))
        if name and Path(os.path.realpath(path.parent)).is_relative_to(real):
            self.skipped.append(Skipped(name, "a link to a folder that contains it"))
            return
        if (maps, real) in self.seen:
            self.skipped.append(Skipped(name, "a link to a folder that is listed already"))
            return
        self.seen.add((maps, real))
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            self.skipped.append(Skipped(name or str(self.root), f"a folder that can't be read ({error})"))
            return
        for entry in entries:
            if not entry.name.startswith(HIDDEN):
                below = f"{name}/{entry.name}" if name else entry.name
                try:
                    self._take(entry, below, maps, folders, links)
                except OSError as error:  # such as a link to itself
                    self.skipped.append(Skipped(below, f"can't be read ({error})"))

    def _take(
        self, entry: os.DirEntry[str], name: str, maps: str, folders: deque[Folder], links: deque[Folder]
    ) -> None:
        if entry.is_dir():
            inside = maps or (name if self.is_maps(entry.name) else "")
            (links if entry.is_symlink() else folders).append((name, inside))
        elif entry.is_file():
            stat = entry.stat()
            self.parts.append(FilePart(name, entry.path, stat.st_size, 0, stat.st_mtime_ns))
        else:
            gone = entry.is_symlink() and not Path(entry.path).exists()
            self.skipped.append(Skipped(name, "a link to nothing" if gone else "neither a file nor a folder"))
