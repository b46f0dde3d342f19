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

from ..common.containers import UNREADABLE
from ..common.opcodes import check_pickles
from .errors import CheckpointError

STATE_FILE = "training_state.pt"
RESTORE = "Restore the file, or choose another run_name and start from the run's last adapter."
# Error numbers of the system: (numbers, what was found, the sentence, the fix).
TROUBLES = (
    (
        (errno.ENOSPC, errno.EDQUOT),
        "no space left on the disk",
        "The disk is full.",
        "Free some space, or use another output folder.",
    ),
    (
        (errno.ENAMETOOLONG,),
        "a name that is too long for this disk",
        "The file's name is too long.",
        "Choose a shorter name.",
    ),
    (
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "a folder that is read-only",
        "The folder is read-only.",
        "Allow writing, or use another folder.",
    ),
)


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file atomically: its name always refers to a complete file, the old or the new.

    Args:
        path: The file; its folder is created.
        write: Writes the contents to an open file.

    Raises:
        CheckpointError: The disk is full, the folder is read-only, or similar. No partial file remains.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, because a rename is atomic only within a file system. tempfile would deny others access.
        fresh = unfinished(path)
        with fresh.open("xb") as file:
            temporary = fresh
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        temporary = None
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError for errors of the system
        raise trouble(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file; see :func:`write_whole`."""
    # Names of files that are not valid text have no other way into it.
    data = text.encode("utf-8", "backslashreplace")
    write_whole(path, lambda file: file.write(data))


def unfinished(path: Path) -> Path:
    """Return a unique name for a file while it is being written."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")


def trouble(path: Path, error: Exception) -> CheckpointError:
    """Return the error for the user that an error of the system causes.

    Args:
        path: The file to be written.
        error: The system's error, or one caused by it.
    """
    causes: list[BaseException] = [error]
    while (deeper := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(deeper)
    numbers = {cause.errno for cause in causes if isinstance(cause, OSError)}
    for known, found, says, fix in TROUBLES:
        if numbers.intersection(known):
            return CheckpointError(str(path), found, "a place to write to", fix, says=says)
    return CheckpointError(
        str(path),
        str(error),
        "a place to write to",
        "Choose another output folder.",
        says=f"The file {path.name} can't be written.",
    )


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run to its folder; see :func:`write_whole`."""
    write_whole(folder / STATE_FILE, lambda file: torch.save(dict(state), file))


def load_state(folder: Path) -> dict[str, Any] | None:
    """Read the state of a run.

    Args:
        folder: The folder of the run.

    Returns:
        Its contents, on the CPU and unchecked; None if the folder has no state.

    Raises:
        CheckpointError: The file is damaged, or the folder has adapters of a run but no state.
    """
    require_state(folder)
    return _read_state(folder / STATE_FILE)


def peek_state(folder: Path) -> dict[str, Any] | None:
    """Read the state of a run without its weights, which stay on the disk as mapped memory.

    Raises:
        CheckpointError: As :func:`load_state`.
    """
    require_state(folder)
    return _read_state(folder / STATE_FILE, mmap=True)


def _read_state(path: Path, **options: Any) -> dict[str, Any] | None:
    if not os.path.lexists(path):
        return None
    if not path.is_file():  # reading from a pipe would block forever
        raise _unreadable(path, "no file that can be read")
    try:
        check_pickles(path)
        state = torch.load(path, map_location="cpu", weights_only=True, **options)
    except UNREADABLE as error:
        raise _unreadable(path, f"a damaged file ({error})") from error
    if not isinstance(state, dict):
        raise _unreadable(path, f"a {type(state).__name__}")
    return state


def _unreadable(path: Path, found: str) -> CheckpointError:
    return CheckpointError(str(path), found, "the state of a run", RESTORE, says="The run's checkpoint can't be read.")


def require_state(folder: Path) -> None:
    """Check that a folder with the adapters of a run also has its state, instead of silently starting over.

    Args:
        folder: The folder of the run.

    Raises:
        CheckpointError: The folder has adapters but no state.
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
            "the state that the run resumes from",
            "Put it back; or choose another run_name, or move the adapters away, to start over.",
            says="The run's checkpoint is missing, so the run can't be resumed.",
        )
