"""Published weights files: where to get one, how to check it, and what to tell the user about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HUB = "https://huggingface.co"
DOWNLOAD = "download: "
# Marks the entry of a file whose only hash is the one that its server states.
UNKNOWN_HASH = "no published hash"


@dataclass(frozen=True)
class PublishedFile:
    """A weights file that anybody can download.

    Attributes:
        key: The network and variant that it holds.
        annotator: The annotator that takes it.
        file: Its name in models/annotators.
        size: Bytes; rounded unless ``exact``.
        sha256: Its hash, or None where none is published: then the server must state it.
        addresses: Where to download it, in the order to try.
        licence: Its licence in a few words.
        instead: What gives a similar result without weights.
        exact: Whether ``size`` is exact.
    """

    key: str
    annotator: str
    file: str
    size: int
    sha256: str | None
    addresses: tuple[str, ...]
    licence: str
    instead: str
    exact: bool = True

    @property
    def entry(self) -> str:
        """The entry that a user chooses to download it."""
        unknown = "" if self.sha256 else f", {UNKNOWN_HASH}"
        return f"{DOWNLOAD}{self.file} ({megabytes(self.size)}{unknown})"

    @property
    def on_hub(self) -> tuple[tuple[str, str], ...]:
        """Repository and path of each address on the hub; other programs name their caches after them."""
        found = (re.fullmatch(rf"{HUB}/([^/]+/[^/]+)/resolve/[^/]+/(.+)", address) for address in self.addresses)
        return tuple(dict.fromkeys((match[1], match[2]) for match in found if match))


def how_to_get(row: PublishedFile, folder: Path, *, by_choice: bool = True, instead: str = "") -> str:
    """Say how to get a file, and what works without it.

    Args:
        row: The file.
        folder: Where it belongs.
        by_choice: Whether choosing its entry would download it.
        instead: What gives a similar result without weights, in the caller's words.

    Returns:
        Full sentences.
    """
    choice = f"Choose '{row.entry}' to download it (licence: {row.licence}), or put" if by_choice else "Put"
    return (
        f"{choice} {row.file} ({megabytes(row.size)}, sha256 {row.sha256 or 'as the server states it'}) from "
        f"{row.addresses[0]} into {folder}. {instead or row.instead}."
    )


def megabytes(size: int) -> str:
    """Format a size in bytes: ``2.9 MB``, ``490 MB``, ``1.4 GB``."""
    value, unit = (size / 1e9, "GB") if size >= 1e9 else (size / 1e6, "MB")
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
