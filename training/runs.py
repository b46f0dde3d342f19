"""Prepare a run's folder: remove partial files, and check that it can be written to."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path

from .checkpoints import trouble, unfinished

UNFINISHED = re.compile(r"\..*\.part", re.DOTALL)


def remove_unfinished(files: Iterable[Path], age: float = 0.0) -> None:
    """Remove partial files that :func:`write_whole` leaves when its process is killed.

    Args:
        files: Files to look through.
        age: Seconds since the last write before a file is removed; another process may be writing newer ones.
    """
    for path in files:
        if UNFINISHED.fullmatch(path.name) and path.lstat().st_mtime <= time.time() - age:
            path.unlink(missing_ok=True)


def begin_run(folder: Path, steps: int) -> None:
    """Prepare a run's folder, so that problems with writing show before any work.

    Args:
        folder: The folder of the run, named after it.
        steps: Total number of steps.

    Raises:
        CheckpointError: The folder can't be written to, or its disk does not allow the length of the run's file names.
    """
    longest = unfinished(folder / f"{folder.name}_step_{steps:08}.safetensors")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder.rglob("*"))
        longest.touch(exist_ok=False)
        longest.unlink()
    except OSError as error:
        raise trouble(longest, error) from error
