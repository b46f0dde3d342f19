"""A run's folder before the run: cleared of what a killed one has left, and known to hold what will be written."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path

from .checkpoints import trouble, unfinished

UNFINISHED = re.compile(r"\..*\.part", re.DOTALL)


def remove_unfinished(files: Iterable[Path], age: float = 0.0) -> None:
    """Remove what :func:`write_whole` has left where its process was killed.

    Args:
        files: Files, of which those are removed.
        age: Those that were written to in so many last seconds are left: another process may be at it.
    """
    for path in files:
        if UNFINISHED.fullmatch(path.name) and path.lstat().st_mtime <= time.time() - age:
            path.unlink(missing_ok=True)


def begin_run(folder: Path, steps: int) -> None:
    """Make a run's folder ready, so that what can't be written to it is found out before any work.

    Args:
        folder: The folder of the run, which has its name.
        steps: How many steps it will make.

    Raises:
        CheckpointError: The folder can't be written to, or its disk does not hold names as long as the run's files.
    """
    longest = unfinished(folder / f"{folder.name}_step_{steps:08}.safetensors")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder.rglob("*"))
        longest.touch(exist_ok=False)
        longest.unlink()
    except OSError as error:
        raise trouble(longest, error) from error
