"""An incomplete download on disk: the bytes received so far, and the SHA-256 of the file that they belong to."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...annotators.catalogue import megabytes

DownloadProgress = Callable[[int, int], None]
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class PartialFile:
    """An incomplete download, kept so that the next attempt can resume it.

    Attributes:
        path: File with the bytes received so far.
        note: File next to it; contains the SHA-256 of the complete file.
    """

    path: Path
    note: Path

    @classmethod
    def beside(cls, target: Path) -> PartialFile:
        """Return the partial file of a download to ``target``."""
        return cls(target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.sha256"))

    def size(self, sha256: str | None = None) -> int:
        """Return the number of bytes that a download can resume from.

        Args:
            sha256: SHA-256 of the complete file; None accepts any.

        Returns:
            Bytes; 0 if the file is missing, is a link, or belongs to another file.
        """
        if self.path.is_symlink():
            return 0
        try:
            noted = self.note.read_text(encoding="ascii")
            size = self.path.stat().st_size
        except (OSError, ValueError):
            return 0
        return size if sha256 in (None, noted) else 0

    def delete(self) -> None:
        """Delete both files."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def move_to(self, target: Path) -> None:
        """Give the complete file its final name, and delete the note."""
        self.path.replace(target)
        self.delete()

    def check_space(self, needed: int) -> None:
        """Check that the disk has room for ``needed`` more bytes.

        Raises:
            OSError: ENOSPC: it has not.
        """
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            raise OSError(errno.ENOSPC, f"{megabytes(needed)} needed, {megabytes(free)} free")

    def append(self, chunks: Iterable[bytes], sha256: str, total: int | None, progress: DownloadProgress) -> str:
        """Append the chunks, and hash the whole file.

        The existing bytes are kept if they belong to the file with this SHA-256; otherwise the file starts empty.

        Args:
            chunks: The bytes that follow those on disk.
            sha256: SHA-256 that the complete file should have; written to the note.
            total: Size of the complete file in bytes, if known.
            progress: Called with (bytes so far, total bytes) after each chunk.

        Returns:
            The SHA-256 of all bytes on disk.
        """
        digest = hashlib.sha256()
        size = self.size(sha256)
        if not size:
            self.delete()  # writing through a link would change the file that it points to
        self.note.write_text(sha256, encoding="ascii")
        with self.path.open("r+b" if size else "wb") as file:
            while chunk := file.read(_READ_BYTES) if size else b"":
                digest.update(chunk)
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                progress(size, total or size)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()
