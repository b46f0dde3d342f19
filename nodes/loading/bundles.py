"""The entries of CoAdapter bundles. Lists read only headers, within a time limit; a chosen file is read fully."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from pathlib import Path

from ...adapter_models.errors import ADAPTER_FILE_ERRORS
from ...adapter_models.formats import members
from ...common.containers import SAFETENSORS_SUFFIXES
from ...common.files import names_at_a_glance, tensor_names, weights_in_folder

# Safetensors files often have a pickle's suffix. Files with other suffixes are not opened for a list.
SUFFIXES = (*SAFETENSORS_SUFFIXES, ".ckpt")
# Time limit for a list, for slow disks and many files. Files left out appear after the next refresh, because entries
# found so far are remembered.
LISTING_SECONDS = 3.0
LISTED_HEADER = 1 << 20
MOST_BUNDLE_ENTRIES = 64
# More than anyone has files; the list is rebuilt at every look-up.
MOST_REMEMBERED = 4096

# Path, modification time (ns) and size: changes when the file is replaced.
Key = tuple[str, int, int]


@dataclass(frozen=True)
class Bundles:
    """Remembered entries of bundles.

    Attributes:
        known: Entries of the files read so far; empty for a file that is not a bundle.
    """

    known: dict[Key, tuple[str, ...]] = field(default_factory=dict)

    def listed(self, path: Path, until: float) -> tuple[str, ...]:
        """Return a file's entries for a list, without opening pickles.

        Args:
            path: A file that the user has not chosen.
            until: Deadline on the monotonic clock, in seconds; after it no file is opened.
        """
        key = file_key(path) if path.suffix.lower() in SUFFIXES else None
        if key is None:
            return ()
        if key not in self.known:
            if time.monotonic() > until:
                return ()
            entries = members(names_at_a_glance(path, LISTED_HEADER))
            self._remember(key, entries if len(entries) <= MOST_BUNDLE_ENTRIES else ())
        return self.known[key]

    def ask(self, path: Path) -> tuple[str, ...]:
        """Return the entries of a file that the user chose, in any container; lists show them from then on.

        Raises:
            AdapterError: The file can't be read.
        """
        path = weights_in_folder(path) or path
        entries = members(tensor_names(path, ADAPTER_FILE_ERRORS))
        key = file_key(path)
        if key is not None and len(entries) <= MOST_BUNDLE_ENTRIES:
            self._remember(key, entries)
        return entries

    def _remember(self, key: Key, entries: tuple[str, ...]) -> None:
        while len(self.known) >= MOST_REMEMBERED:
            self.known.pop(next(iter(self.known)))
        self.known[key] = entries


def file_key(path: Path) -> Key | None:
    """Return the key of a file; None if there is no file, for example behind a broken link."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return str(path), stat.st_mtime_ns, stat.st_size


BUNDLES = Bundles()


def has_tensor(path: Path, name: str, until: float) -> bool | None:
    """Return whether a safetensors file has a tensor, without opening pickles; None if that is unknown.

    Args:
        path: A file that the user has not chosen.
        name: Name of the tensor, after any prefix.
        until: Deadline on the monotonic clock, in seconds; after it no file is opened.
    """
    key = file_key(path) if path.suffix.lower() in SUFFIXES and time.monotonic() <= until else None
    return None if key is None else _has_tensor(key, name)


@functools.lru_cache(MOST_REMEMBERED)
def _has_tensor(key: Key, name: str) -> bool | None:
    names = names_at_a_glance(Path(key[0]), LISTED_HEADER)
    return any(each == name or each.endswith(f".{name}") for each in names) if names else None
