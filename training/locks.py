"""Lock a run's folder, so that only one process trains in it at a time."""

from __future__ import annotations

import contextlib
import datetime
import errno
import logging
import os
import socket
import sys
from pathlib import Path
from typing import IO

from .checkpoints import trouble
from .errors import CheckpointError

LOCK_FILE = "run.lock"
_log = logging.getLogger(__name__)

# The system releases these locks when a process ends, however it ends.
if sys.platform == "win32":
    import msvcrt

    # Windows locks ranges that nobody else can read: one byte behind the text.
    _BYTE = 1 << 20

    def _lock(file: IO[str]) -> None:
        file.seek(_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class RunLock:
    """A lock on a run's folder, held by one process.

    Args:
        folder: The folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_FILE
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock; a lock whose process was killed is taken over, and logged.

        Raises:
            CheckpointError: Another process holds the lock, or the folder can't be written to.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self._open()
        except OSError as error:
            raise trouble(self.path, error) from error
        left = file.read().strip()
        if left:
            _log.warning("Taking over the run from a process that ended unexpectedly (%s).", left)
        now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {now}")
        file.flush()
        self._file = file

    def _open(self) -> IO[str]:
        """Open and lock the file; again if its holder removed it in between."""
        while True:
            file = self.path.open("a+", encoding="utf-8")
            file.seek(0)
            try:
                _lock(file)
            except OSError as error:
                holder = file.read().strip()
                file.close()
                if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                    raise self._held(holder) from error
                raise
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    return file
            file.close()

    def _held(self, holder: str) -> CheckpointError:
        return CheckpointError(
            str(self.path.parent),
            f"a run in progress, by {holder or 'another process'}",
            "a run that no other process trains",
            "Wait until it ends, or choose another run_name.",
            says="Another process is training this run.",
        )

    def release(self) -> None:
        """Give the lock back and remove its file; does nothing if the lock is not held."""
        if self._file is None:
            return
        file, self._file = self._file, None
        # While the lock is held, so that nobody else's file is removed; Windows removes only closed files.
        with contextlib.suppress(OSError):
            self.path.unlink()
        file.close()
        if sys.platform == "win32":
            with contextlib.suppress(OSError):
                self.path.unlink()
