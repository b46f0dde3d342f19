"""Read the tensors of a weights file into their own memory, without running code from the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from .containers import UNREADABLE, damage_reported, open_container
from .errors import FileErrors
from .impostors import FETCH_AGAIN, check_is_weights, parts_in_folder
from .stored import begins_as_safetensors, header_text

DIFFUSERS_CONFIG = "config.json"
DIFFUSERS_STEM = "diffusion_pytorch_model"
DIFFUSERS_WEIGHTS = tuple(
    f"{DIFFUSERS_STEM}{variant}{suffix}" for suffix in (".safetensors", ".bin") for variant in ("", ".fp16")
)
# Outlines of all tensors -> those to read, by the names they should get.
Pick = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class WeightsFile:
    """The contents of a weights file.

    Attributes:
        path: The file that was read; for a diffusers folder, the file in it.
        tensors: Flat name -> tensor, in its own memory: later changes to the file have no effect.
        metadata: Text stored with the tensors (safetensors only).
        config: The diffusers ``config.json`` beside the weights, or empty.
        container: ``safetensors`` or ``pickle``.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)
    container: str = "safetensors"


def weights_in_folder(folder: Path) -> Path | None:
    """Return the weights of a diffusers folder (``config.json`` beside ``diffusion_pytorch_model*``), or None."""
    if not (folder / DIFFUSERS_CONFIG).is_file():
        return None
    return next((folder / name for name in DIFFUSERS_WEIGHTS if (folder / name).is_file()), None)


def read_weights(path: Path, errors: FileErrors, pick: Pick = dict) -> WeightsFile:
    """Read a ``.safetensors`` file, a pickle (``.pth``, ``.bin``, ``.ckpt``, ``.pt``) or a diffusers folder.

    Memory grows only by the picked tensors; a file from before torch 1.6 is read whole.

    Args:
        path: The file or folder.
        errors: The classes to raise.
        pick: Chooses the tensors to read from the outlines (device ``meta``) by name, and names them. If it raises,
            because the file is something else, no numbers are read.

    Returns:
        The tensors, with nested dictionaries flattened.

    Raises:
        PackError: Of ``errors.damaged``: the file is missing, unreadable, empty, cut short, damaged, or changes
            during reading. Of ``errors.unsafe``: it is a pickle that holds more than tensors. Of
            ``errors.foreign``: the folder is not a diffusers model, or the file holds no tensors.
    """
    config: Mapping[str, object] = {}
    if path.is_dir():
        config, path = _read_folder(path, errors)
    elif path.name in DIFFUSERS_WEIGHTS and (path.parent / DIFFUSERS_CONFIG).is_file():
        config = _read_config(path.parent / DIFFUSERS_CONFIG, errors)
    _check_file(path, errors)
    before = _stamp(path)
    contents = open_container(path, errors)
    picked = pick(dict(contents.outlines))
    names = {id(outline): name for name, outline in contents.outlines.items()}
    with damage_reported(path, errors):
        found = contents.load([names[id(outline)] for outline in picked.values()])
    if _stamp(path) != before:
        raise errors.damaged(
            str(path),
            "a file that changed while it was read",
            "one that stays as it is",
            "Run this again when the copy or the download is done.",
            says="The file changed while it was read.",
        )
    tensors = {name: found[names[id(outline)]] for name, outline in picked.items()}
    return WeightsFile(path, tensors, contents.metadata, config, contents.container)


def tensor_names(path: Path, errors: FileErrors) -> list[str]:
    """List the names of the tensors in a weights file; only files from before torch 1.6 are read whole.

    Args:
        path: The file.
        errors: The classes to raise.

    Raises:
        PackError: As :func:`read_weights`.
    """
    _check_file(path, errors)
    return list(open_container(path, errors).outlines)


def names_at_a_glance(path: Path, most: int) -> list[str]:
    """List the names of the tensors in a safetensors file; an empty list for other or damaged files.

    Args:
        path: A file with any suffix.
        most: Largest header to read, in bytes.
    """
    try:
        if not path.is_file():
            return []
        with path.open("rb") as file:
            size = path.stat().st_size
            if not begins_as_safetensors(file.read(9), size):
                return []
            file.seek(0)
            content = json.loads(header_text(file, size, most))
    except UNREADABLE:
        return []
    return list(content) if isinstance(content, dict) else []


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _check_file(path: Path, errors: FileErrors) -> None:
    if not path.is_file():
        says = "There is no such file."
        raise errors.damaged(str(path), "no such file", "a weights file", FETCH_AGAIN, says=says)
    if path.stat().st_size == 0:
        says = "The file is empty: its download probably failed."
        raise errors.damaged(str(path), "an empty file", "a weights file", FETCH_AGAIN, says=says)
    check_is_weights(path, errors)


def _read_folder(folder: Path, errors: FileErrors) -> tuple[Mapping[str, object], Path]:
    weights = weights_in_folder(folder)
    if weights is None:
        raise parts_in_folder(folder, errors) or errors.foreign(
            str(folder),
            "a folder without a diffusers model",
            f"{DIFFUSERS_CONFIG} and {DIFFUSERS_WEIGHTS[0]} in it",
            says="This folder holds no diffusers model.",
        )
    return _read_config(folder / DIFFUSERS_CONFIG, errors), weights


def _read_config(path: Path, errors: FileErrors) -> Mapping[str, object]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        found = f"unreadable JSON ({error})"
        raise errors.damaged(
            str(path), found, "a diffusers config", FETCH_AGAIN, says="config.json is damaged."
        ) from error
    if not isinstance(config, dict):
        found = f"a JSON {type(config).__name__}"
        raise errors.damaged(str(path), found, "a diffusers config", FETCH_AGAIN, says="config.json is damaged.")
    return config
