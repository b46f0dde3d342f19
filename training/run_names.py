"""Check the names of runs and files: they must stay in the output folder, on every system."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PureWindowsPath

from .checkpoints import trouble
from .errors import CheckpointError

# Letters of any language, digits, and marks that no system treats as part of a path; no dot or space at either end.
RUN_NAME = re.compile(r"(?![. ])[\w .+=@()-]{1,100}(?<![. ])", re.UNICODE)
# Device names on Windows, with any suffix; superscript digits count as digits.
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)\d) *(\..*)?", re.IGNORECASE)
# File systems allow 255 bytes; training adds to the run's name.
LONGEST_RUN_NAME = 180


def check_run_name(name: str) -> str:
    """Check that a run's name can be a folder's name on every system.

    Args:
        name: Name of the run.

    Returns:
        The same name.

    Raises:
        CheckpointError: The name is empty, too long or reserved, or contains parts of a path.
    """
    if not isinstance(name, str) or not RUN_NAME.fullmatch(name) or is_reserved(name):
        raise CheckpointError(
            "run_name",
            repr(name),
            "a plain name of letters, digits, spaces and . + = @ ( ) - _, without slashes",
            "It becomes a folder's name in the output folder.",
            says="The run's name can't be the name of a folder.",
        )
    if len(name.encode()) > LONGEST_RUN_NAME:
        raise CheckpointError(
            "run_name",
            f"{len(name.encode())} bytes",
            f"at most {LONGEST_RUN_NAME}; letters of most scripts take two or three",
            "Choose a shorter name.",
            says="The run's name is too long.",
        )
    return name


def is_reserved(name: str) -> bool:
    """Return whether a name is a device's name on Windows."""
    return RESERVED.fullmatch(unicodedata.normalize("NFKC", name)) is not None


def run_folder(runs: Path, name: str) -> Path:
    """Return the folder of a run.

    Args:
        runs: The folder of all runs, in the output folder.
        name: Name of the run.

    Returns:
        A folder in ``runs``; it need not exist.

    Raises:
        CheckpointError: The name or a link leads out of the output folder.
    """
    return require_inside(runs / check_run_name(name), runs.parent)


def require_inside(folder: Path, output: Path) -> Path:
    """Check that no link leads out of the output folder.

    Args:
        folder: Folder to write to; it need not exist.
        output: The output folder; it may itself be a link.

    Returns:
        The same folder.

    Raises:
        CheckpointError: The folder is elsewhere.
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
            says="A link leads out of the output folder.",
        )
    return folder


def check_prefix(prefix: str) -> str:
    """Check that a path stays in the output folder, on every system.

    Args:
        prefix: Path below the output folder, with slashes of either kind.

    Returns:
        The same path.

    Raises:
        CheckpointError: It has no name, starts at a root or a drive, goes up, or contains a reserved name.
    """
    if not isinstance(prefix, str):
        raise CheckpointError(
            "filename_prefix", repr(prefix), "a text", "Check where it comes from.", says="The file's name is not text."
        )
    place = PureWindowsPath(prefix.strip())  # handles both kinds of slashes, and drives
    if not place.name or place.anchor or ".." in place.parts or ":" in prefix or not prefix.isprintable():
        raise CheckpointError(
            "filename_prefix",
            repr(prefix),
            "a name in the output folder, with or without folders before it",
            "Change it.",
            says="The file's name leads out of the output folder, or is not a name.",
        )
    for part in place.parts:
        if is_reserved(part) or len(part.encode()) > LONGEST_RUN_NAME:
            raise CheckpointError(
                "filename_prefix",
                repr(part),
                f"names of at most {LONGEST_RUN_NAME} bytes that Windows does not keep for itself (con, nul, com1)",
                "Change it.",
                says="The file's name is too long, or reserved by Windows.",
            )
    return prefix
