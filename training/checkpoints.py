"""Files of a run: written atomically, and read without running code."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch

from ..common.files import DAMAGE
from ..common.opcodes import check_pickles
from .errors import CheckpointError

STATE_FILE = "training_state.pt"
RESTORE = "Put back the file that was there, or choose another run_name and begin with the run's last adapter."
# What the system's error numbers mean for the user: (numbers, what was found, the fix).
TROUBLES = (
    ((errno.ENOSPC, errno.EDQUOT), "no space left on the disk", "Free some space, or use another output folder."),
    ((errno.ENAMETOOLONG,), "a name that is too long for this disk", "Choose a shorter name."),
    ((errno.EACCES, errno.EPERM, errno.EROFS), "a folder that is read-only", "Allow writing, or use another folder."),
)


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that its name always stands for a whole one, the old or the new.

    Args:
        path: The file; its folder is made.
        write: Writes the contents into an open file.

    Raises:
        CheckpointError: The disk is full, the folder read-only, and the like. Nothing is left behind.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder: a file can only be put in another's place on one file system. Not by tempfile, whose files
        # nobody else may read.
        fresh = unfinished(path)
        with fresh.open("xb") as file:
            temporary = fresh
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        temporary = None
    except (OSError, RuntimeError) as error:  # torch.save turns the system's errors into RuntimeErrors
        raise trouble(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def unfinished(path: Path) -> Path:
    """Return a name of its own that a file has while it is written."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")


def trouble(path: Path, error: Exception) -> CheckpointError:
    """Return what an error of the system means for the user.

    Args:
        path: What was to be written.
        error: The system's error, or one that it has caused.
    """
    causes: list[BaseException] = [error]
    while (deeper := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(deeper)
    numbers = {cause.errno for cause in causes if isinstance(cause, OSError)}
    for known, found, fix in TROUBLES:
        if numbers.intersection(known):
            return CheckpointError(str(path), found, "a place to write to", fix)
    return CheckpointError(str(path), str(error), "a place to write to", "Choose another output folder.")


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run into its folder; see :func:`write_whole`."""
    write_whole(folder / STATE_FILE, lambda file: torch.save(dict(state), file))


def load_state(folder: Path) -> dict[str, Any] | None:
    """Read the state of a run.

    Args:
        folder: The folder of the run.

    Returns:
        What is in it, on the CPU and not looked at, or None where no run has left one.

    Raises:
        CheckpointError: The file is damaged, or it is missing beside the adapters of a run.
    """
    require_state(folder)
    return _read_state(folder / STATE_FILE)


def peek_state(folder: Path) -> dict[str, Any] | None:
    """Read the state of a run without reading its weights: they are mapped, and freed with the result.

    Raises:
        CheckpointError: As :func:`load_state`.
    """
    require_state(folder)
    return _read_state(folder / STATE_FILE, mmap=True)


def _read_state(path: Path, **options: Any) -> dict[str, Any] | None:
    if not os.path.lexists(path):
        return None
    if not path.is_file():  # reading from a pipe would wait for ever
        raise CheckpointError(str(path), "no file that can be read", "the state of a run", RESTORE)
    try:
        check_pickles(path)
        state = torch.load(path, map_location="cpu", weights_only=True, **options)
    except DAMAGE as error:
        raise CheckpointError(
            str(path),
            f"a damaged file ({error})",
            "the state of a run",
            RESTORE,
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(str(path), f"a {type(state).__name__}", "the state of a run", RESTORE)
    return state


def require_state(folder: Path) -> None:
    """Refuse to begin anew, in silence, where the adapters of a run lie.

    Args:
        folder: The folder of the run.

    Raises:
        CheckpointError: There are adapters, and no state.
    """
    if os.path.lexists(folder / STATE_FILE):
        return
    names = (f"{glob.escape(folder.name)}{ending}" for ending in ("_step_*.safetensors", ".safetensors"))
    found = sorted(path.name for name in names for path in folder.glob(name))
    whole = folder / folder.name  # a diffusers folder
    if whole.is_dir():
        found.append(whole.name)
    if found:
        raise CheckpointError(
            str(folder / STATE_FILE),
            f"no such file beside {found[-1]}, an adapter that a run has left",
            "the state that the run goes on from",
            "Put it back; or choose another run_name, or move the adapters away, to begin anew.",
        )
