"""The entries of CoAdapter bundles: for lists from a bounded look, of a file that was chosen from its content."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from ...adapter_models.errors import FILE_ERRORS
from ...adapter_models.formats import members
from ...common.files import SAFETENSORS_SUFFIXES, names_at_a_glance, tensor_names, weights_in_folder

# A pickle's name on a safetensors file is common; files of other names are not opened for a list.
SUFFIXES = (*SAFETENSORS_SUFFIXES, ".ckpt")
# What a list may cost on a slow disk, however many files there are and whatever is in them. What is left out comes with
# the next refresh, when the entries found so far cost nothing.
LISTING_SECONDS = 3.0
LISTED_HEADER = 1 << 20
MOST_ENTRIES = 64
# More than anybody's files: the list is made again for every look-up.
MOST_REMEMBERED = 4096

# Path, time and size: another one where the file was replaced.
Key = tuple[str, int, int]


@dataclass(frozen=True)
class Bundles:
    """What is known of bundles.

    Attributes:
        known: The entries of files that were looked at; none of a file that is no bundle.
    """

    known: dict[Key, tuple[str, ...]] = field(default_factory=dict)

    def listed(self, path: Path, until: float) -> tuple[str, ...]:
        """Return the entries that a list may show: no pickle is opened for it.

        Args:
            path: A file that nobody has chosen.
            until: When lists must be done, on the monotonic clock; after it no file is opened.
        """
        key = _key(path) if path.suffix.lower() in SUFFIXES else None
        if key is None:
            return ()
        if key not in self.known:
            if time.monotonic() > until:
                return ()
            entries = members(names_at_a_glance(path, LISTED_HEADER))
            self._remember(key, entries if len(entries) <= MOST_ENTRIES else ())
        return self.known[key]

    def ask(self, path: Path) -> tuple[str, ...]:
        """Return the entries in a file that was chosen, whatever it is packed in; lists show them from then on.

        Raises:
            AdapterError: The file can't be read.
        """
        path = weights_in_folder(path) or path
        entries = members(tensor_names(path, FILE_ERRORS))
        key = _key(path)
        if key is not None and len(entries) <= MOST_ENTRIES:
            self._remember(key, entries)
        return entries

    def _remember(self, key: Key, entries: tuple[str, ...]) -> None:
        while len(self.known) >= MOST_REMEMBERED:
            self.known.pop(next(iter(self.known)))
        self.known[key] = entries


def _key(path: Path) -> Key | None:
    """Return None where there is no file, such as behind a broken link."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return str(path), stat.st_mtime_ns, stat.st_size


BUNDLES = Bundles()
