"""Check the names of runs and files: they must stay in the output folder, on every system."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PureWindowsPath

from .checkpoints import trouble
from .errors import CheckpointError

# Letters of any language, digits, and what is a part of a path on no system; never a dot or space at either end.
RUN_NAME = re.compile(r"(?![. ])[\w .+=@()-]{1,100}(?<![. ])", re.UNICODE)
# Windows takes them for devices, whatever follows a dot, and superscript digits for digits.
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)\d) *(\..*)?", re.IGNORECASE)
# File systems hold 255 bytes: what training puts around a run's name takes the rest.
LONGEST_RUN_NAME = 180


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
    if len(name.encode()) > LONGEST_RUN_NAME:
        raise CheckpointError(
            "run_name",
            f"{len(name.encode())} bytes",
            f"at most {LONGEST_RUN_NAME}, of which most scripts take two or three a letter",
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
        if is_reserved(part) or len(part.encode()) > LONGEST_RUN_NAME:
            raise CheckpointError(
                "filename_prefix",
                repr(part),
                f"names of at most {LONGEST_RUN_NAME} bytes that Windows does not keep for itself (con, nul, com1)",
                "Change it.",
            )
    return prefix
