"""Match file names: names in tables, and equal names in several folders."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath


class Names:
    """Find a data set's files by their names in tables.

    Args:
        files: Paths of all files.
        pictures: Paths of the files that a table may name without suffix.
    """

    def __init__(self, files: Iterable[str], pictures: Iterable[str]) -> None:
        self._files = frozenset(files)
        self._stems = {posixpath.splitext(path)[0]: path for path in pictures}
        self._places: dict[PurePosixPath, list[str]] = {}

    def find(self, folder: PurePosixPath, name: str, below: tuple[str, ...] = ("",)) -> str | None:
        """Return the path of a file.

        Args:
            folder: The folder of the table.
            name: Path relative to that folder or to one above it. Of an absolute path, possibly from another machine,
                only the end has to match.
            below: Folders below these that the file may be in, in the order to try.
        """
        if folder not in self._places:
            self._places[folder] = ["" if one == PurePosixPath() else str(one) for one in (folder, *folder.parents)]
        for end in _ends(name):
            for middle in below:
                for place in self._places[folder]:
                    wanted = "/".join(piece for piece in (place, middle, end) if piece)
                    # Few names need it, and it takes long.
                    if "./" in wanted or "//" in wanted:
                        wanted = posixpath.normpath(wanted)
                    found = wanted if wanted in self._files else self._stems.get(wanted)
                    if found is not None:
                        return found
        return None


def _ends(name: str) -> list[str]:
    """Return the paths that a name may mean, longest first."""
    if not any(sign in name for sign in ":\\") and not name.startswith("/"):
        return [name]
    path = PureWindowsPath(name)  # handles both kinds of slashes, and drives
    parts = path.parts[1:] if path.anchor else path.parts
    return ["/".join(parts[first:]) for first in range(len(parts) if path.anchor else 1)]


class Elsewhere:
    """Find names that differ in one folder: ``images/cat`` and ``depth/cat``.

    Args:
        names: Paths with slashes.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._found: dict[tuple[tuple[str, ...], int], list[str]] = {}
        for name in names:
            parts = tuple(name.split("/"))
            for place in range(len(parts) - 1):
                self._found.setdefault((parts[:place] + parts[place + 1 :], place), []).append(name)

    def with_a_folder(self, name: str, place: int) -> list[str]:
        """Return the names that have one more folder than this one, after the first ``place`` folders."""
        return self._found.get((tuple(name.split("/")), place), [])

    def in_another_folder(self, name: str) -> list[str]:
        """Return the names that differ from this one in one folder."""
        parts = tuple(name.split("/"))
        places = range(len(parts) - 1)
        return [
            other
            for place in places
            for other in self.with_a_folder("/".join(parts[:place] + parts[place + 1 :]), place)
            if other != name
        ]
