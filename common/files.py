"""Read the tensors of a weights file into their own memory, without running code from the file."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from .errors import FileErrors, PackError
from .impostors import FETCH_AGAIN, check_is_weights, parts_in_folder
from .opcodes import check_pickles
from .pickles import check_tensors, check_whole, flatten, read_zip
from .stored import Stored, begins_as_safetensors, header_text, read_safetensors_header, read_stored

SAFETENSORS_SUFFIXES = (".safetensors", ".sft")
PICKLE_SUFFIXES = (".pth", ".bin", ".ckpt", ".pt")
DIFFUSERS_CONFIG = "config.json"
DIFFUSERS_STEM = "diffusion_pytorch_model"
DIFFUSERS_WEIGHTS = tuple(
    f"{DIFFUSERS_STEM}{variant}{suffix}" for suffix in (".safetensors", ".bin") for variant in ("", ".fp16")
)
# Everything torch's unpickler raises on a damaged stream, found by corrupting files; all mean a damaged file.
UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    ImportError,
    MemoryError,
    OSError,
)
# How torch's unpickler names what it refused: a global, a class, or an instruction that makes a call.
CODE = re.compile(
    r"(?:nsupported (?:global: )?GLOBAL|unrecognized function|new object .* got|operand(?= (?:105|111|146|147|149)\b))"
    r"\s+(\S.*?)(?: whose module| was not|$)",
    re.MULTILINE,
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


@dataclass(frozen=True)
class _Contents:
    """The contents of a file before its numbers are read.

    Attributes:
        outlines: Name -> tensor of that shape and precision on device ``meta``.
        load: Reads the tensors of the given names.
        metadata: Text stored with the tensors.
        container: ``safetensors`` or ``pickle``.
    """

    outlines: dict[str, Tensor]
    load: Callable[[Iterable[str]], dict[str, Tensor]]
    metadata: Mapping[str, str]
    container: str


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
    contents = _open(path, errors)
    picked = pick(dict(contents.outlines))
    names = {id(outline): name for name, outline in contents.outlines.items()}
    with _damage_reported(path, errors):
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
    return list(_open(path, errors).outlines)


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


def _open(path: Path, errors: FileErrors) -> _Contents:
    with _damage_reported(path, errors):
        with path.open("rb") as file:
            begins = begins_as_safetensors(file.read(9), path.stat().st_size)
        if begins or path.suffix.lower() in SAFETENSORS_SUFFIXES:
            stored, metadata = read_safetensors_header(path)
            return _from_stored(path, stored, metadata, "safetensors")
        if zipfile.is_zipfile(path):
            loaded, stored = read_zip(path)
            _require_tensors(path, errors, loaded, stored)
            return _from_stored(path, stored, {}, "pickle")
        check_pickles(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        tensors = flatten(loaded)
        _require_tensors(path, errors, loaded, tensors)
        check_tensors(tensors)
        check_whole(tensors)
        outlines = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
        return _Contents(outlines, lambda names: {name: tensors[name] for name in names}, {}, "pickle")


def _from_stored(path: Path, stored: Mapping[str, Stored], metadata: Mapping[str, str], container: str) -> _Contents:
    outlines = {name: one.outline() for name, one in stored.items()}
    return _Contents(
        outlines, lambda names: read_stored(path, {name: stored[name] for name in names}), metadata, container
    )


def _require_tensors(path: Path, errors: FileErrors, loaded: object, tensors: Mapping[str, object]) -> None:
    if not tensors:
        raise errors.foreign(
            str(path),
            f"a pickled {type(loaded).__name__} without tensors",
            "a state dict",
            "Choose another file.",
            says="This file holds no weights.",
        )


@contextlib.contextmanager
def _damage_reported(path: Path, errors: FileErrors) -> Iterator[None]:
    """Report any error from a damaged file as damage, and from an unsafe pickle what it would have run."""
    try:
        yield
    except PackError:
        raise
    except UNREADABLE as error:
        refused = CODE.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if refused is not None:
            raise errors.unsafe(
                str(path),
                f"a pickle that asks for more than tensors ({refused[1][:120]})",
                "a file of tensors alone",
                "Nothing of it was run. Use a .safetensors version of this adapter.",
                says="This file asks to run code, so it was not loaded.",
            ) from error
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:160]}"
        raise errors.damaged(
            str(path),
            f"a damaged or cut-off file ({reason})",
            "a whole weights file",
            FETCH_AGAIN,
            says="The file is damaged: its download probably stopped early.",
        ) from error
