"""Files of a run: written whole or not at all, read without running code, under names without paths."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import unicodedata
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path, PureWindowsPath
from typing import IO, Any

import torch

from ..common.files import DAMAGE
from ..common.opcodes import check_pickles
from .errors import CheckpointError

STATE_FILE = "training_state.pt"
RESTORE = "Put back the file that was there, or choose another run_name and begin with the run's last adapter."
# Letters of any language, digits, and what is a part of a path on no system; never a dot or space at either end.
RUN_NAME = re.compile(r"(?![. ])[\w .+=@()-]{1,100}(?<![. ])", re.UNICODE)
# Windows takes them for devices, whatever follows a dot, and superscript digits for digits.
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)\d) *(\..*)?", re.IGNORECASE)
# File systems hold 255 bytes: what training puts around a run's name takes the rest.
LONGEST_NAME = 180
# What the system's error numbers mean for the user: (numbers, what was found, the fix).
TROUBLES = (
    ((errno.ENOSPC, errno.EDQUOT), "no space left on the disk", "Free some space, or use another output folder."),
    ((errno.ENAMETOOLONG,), "a name that is too long for this disk", "Choose a shorter name."),
    ((errno.EACCES, errno.EPERM, errno.EROFS), "a folder that is read-only", "Allow writing, or use another folder."),
)


def check_run_name(name: str) -> str:
    """Refuse names that would leave the output folder.

    Args:
        name: What the user calls the run.

    Returns:
        The same name.

    Raises:
        CheckpointError: The name is empty, has parts of a path, or can't be a folder's name everywhere.
    """
    if not isinstance(name, str) or not RUN_NAME.fullmatch(name) or is_reserved(name):
        raise CheckpointError(
            "run_name",
            repr(name),
            "a plain name of letters, digits, spaces and . + = @ ( ) - _, without slashes",
            "It becomes a folder's name in the output folder.",
        )
    if len(name.encode()) > LONGEST_NAME:
        raise CheckpointError(
            "run_name",
            f"{len(name.encode())} bytes",
            f"at most {LONGEST_NAME}, of which most scripts take two or three a letter",
            "Choose a shorter name.",
        )
    return name


def is_reserved(name: str) -> bool:
    """Tell whether Windows takes a name for a device."""
    return RESERVED.fullmatch(unicodedata.normalize("NFKC", name)) is not None


def run_folder(runs: Path, name: str) -> Path:
    """Return the folder of a run, wherever it will be written.

    Args:
        runs: The folder of all runs, in the output folder.
        name: What the user calls the run.

    Returns:
        A folder in ``runs``; it need not be there.

    Raises:
        CheckpointError: The name would lead out of it, or a link does.
    """
    return require_inside(runs / check_run_name(name), runs.parent)


def require_inside(folder: Path, output: Path) -> Path:
    """Refuse a folder that a link leads out of the output folder, as newer ComfyUIs do for pictures.

    Args:
        folder: Where to write; it need not be there.
        output: The output folder; it may itself be a link.

    Returns:
        The same folder.

    Raises:
        CheckpointError: It lies elsewhere.
    """
    try:
        inside = folder.resolve().is_relative_to(output.resolve())
    except (OSError, RuntimeError) as error:  # a link to itself
        raise trouble(folder, error) from error
    if not inside:
        raise CheckpointError(
            str(folder),
            f"a link to {folder.resolve()}",
            "a folder in the output folder",
            "Start ComfyUI with --output-directory to write elsewhere.",
        )
    return folder


def check_prefix(prefix: str) -> str:
    """Refuse a folder and name that would leave the output folder, on any system.

    Args:
        prefix: Below the output folder, with slashes of either kind.

    Returns:
        The same.

    Raises:
        CheckpointError: It names nothing, begins at a root or a drive, goes up, or has what no name has.
    """
    if not isinstance(prefix, str):
        raise CheckpointError("filename_prefix", repr(prefix), "a text", "Check the node that makes it.")
    place = PureWindowsPath(prefix.strip())  # which knows both kinds of slashes, and drives
    if not place.name or place.anchor or ".." in place.parts or ":" in prefix or not prefix.isprintable():
        raise CheckpointError(
            "filename_prefix",
            repr(prefix),
            "a name in the output folder, perhaps behind folders",
            "Change it.",
        )
    for part in place.parts:
        if is_reserved(part) or len(part.encode()) > LONGEST_NAME:
            raise CheckpointError(
                "filename_prefix",
                repr(part),
                f"names of at most {LONGEST_NAME} bytes that Windows does not keep for itself (con, nul, com1)",
                "Change it.",
            )
    return prefix


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
