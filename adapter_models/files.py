"""Read the tensors of a weights file without running any of it, mapped from the disk rather than copied."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import CorruptFileError, NotAnAdapterError, UnsafeFileError

SAFETENSORS_SUFFIXES = (".safetensors", ".sft")
PICKLE_SUFFIXES = (".pth", ".bin", ".ckpt", ".pt")
DIFFUSERS_CONFIG = "config.json"
DIFFUSERS_STEM = "diffusion_pytorch_model"
DIFFUSERS_WEIGHTS = tuple(
    f"{DIFFUSERS_STEM}{variant}{suffix}" for suffix in (".safetensors", ".bin") for variant in ("", ".fp16")
)
# Dictionaries that trainers wrap around the state dict.
NESTING_KEYS = ("state_dict", "model_state_dict", "adapter", "model", "module")
# What torch's unpickler raises on a damaged stream, as found by corrupting files; each is reported as a damaged file.
DAMAGE = (
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
# How torch's unpickler names what it refused to run: a global, a class, or an instruction that calls something.
CODE = re.compile(
    r"(?:nsupported (?:global: )?GLOBAL|unrecognized function|new object .* got|operand(?= (?:105|111|146|147|149)\b))"
    r"\s+(\S.*?)(?: whose module| was not|$)",
    re.MULTILINE,
)
DESCRIPTOR = b"PK\x07\x08"
FETCH_AGAIN = "Download the file again."


@dataclass(frozen=True)
class WeightsFile:
    """The contents of a weights file.

    Attributes:
        path: The file that was read; inside the folder, for a diffusers folder.
        tensors: Flat name -> tensor, mapped from the file where its format allows it.
        metadata: Text written beside the tensors (safetensors only).
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


def read(path: Path) -> WeightsFile:
    """Read a ``.safetensors`` file, a pickle (``.pth``, ``.bin``, ``.ckpt``, ``.pt``) or a diffusers folder.

    Args:
        path: The file or folder.

    Returns:
        Its tensors by name, with nesting dictionaries opened.

    Raises:
        CorruptFileError: The file is missing, not to be read, empty, cut short or damaged.
        UnsafeFileError: The file is a pickle that holds more than tensors.
        NotAnAdapterError: The folder is no diffusers model, or the file holds no tensors.
    """
    config: Mapping[str, object] = {}
    if path.is_dir():
        weights = weights_in_folder(path)
        if weights is None:
            raise NotAnAdapterError(
                str(path), "a folder without a diffusers model", f"{DIFFUSERS_CONFIG} and {DIFFUSERS_WEIGHTS[0]} in it"
            )
        config, path = _read_config(path / DIFFUSERS_CONFIG), weights
    elif path.name in DIFFUSERS_WEIGHTS and (path.parent / DIFFUSERS_CONFIG).is_file():
        config = _read_config(path.parent / DIFFUSERS_CONFIG)
    _check_file(path)
    if _is_safetensors(path):
        tensors, metadata = _read_safetensors(path)
        return WeightsFile(path, tensors, metadata, config, "safetensors")
    return WeightsFile(path, _read_pickle(path), {}, config, "pickle")


def tensor_names(path: Path) -> list[str]:
    """List the names of the tensors in a weights file; of safetensors only the header is read.

    Raises:
        AdapterError: As :func:`read`.
    """
    _check_file(path)
    if not _is_safetensors(path):
        return list(_read_pickle(path))
    with _opened(path) as file:
        return list(file.keys())


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise CorruptFileError(str(path), "no such file", "a weights file", FETCH_AGAIN)
    if path.stat().st_size == 0:
        raise CorruptFileError(str(path), "an empty file", "a weights file", FETCH_AGAIN)


def _is_safetensors(path: Path) -> bool:
    """Tell by the name, or by how the file begins: the length of its header, then a JSON object."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except PermissionError as error:
        raise CorruptFileError(
            str(path), "no permission to read it", "a readable file", "Change its permissions."
        ) from error
    begins = start[8:] == b"{" and 0 < int.from_bytes(start[:8], "little") <= path.stat().st_size - 8
    return begins or path.suffix.lower() in SAFETENSORS_SUFFIXES


def _read_config(path: Path) -> Mapping[str, object]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptFileError(str(path), f"unreadable JSON ({error})", "a diffusers config", FETCH_AGAIN) from error
    if not isinstance(config, dict):
        raise CorruptFileError(str(path), f"a JSON {type(config).__name__}", "a diffusers config", FETCH_AGAIN)
    return config


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except (SafetensorError, *DAMAGE) as error:
        raise CorruptFileError(
            str(path), f"a damaged or cut-off safetensors file ({error})", "a whole one", FETCH_AGAIN
        ) from error


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with _opened(path) as file:
        names = list(file.keys())
        return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        zipped = zipfile.is_zipfile(path)
        mapped = zipped and _check_zip(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        tensors = dict(_flatten(loaded)) if isinstance(loaded, Mapping) else {}
    except pickle.UnpicklingError as error:
        refused = CODE.search(str(error))
        raise (_unsafe(path, refused[1]) if refused else _damaged(path, error)) from error
    except DAMAGE as error:
        raise _damaged(path, error) from error
    if not tensors:
        raise NotAnAdapterError(
            str(path), f"a pickled {type(loaded).__name__} without tensors", "a state dict", "Choose another file."
        )
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_nested:
            raise CorruptFileError(str(path), f"{name}, a tensor without plain numbers", "weights", FETCH_AGAIN)
    if not zipped:
        _check_layout(path, tensors)
    return tensors


def _check_zip(path: Path) -> bool:
    """Check what torch takes on trust, and return whether the tensors can be mapped: they are not compressed."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        records = sorted(archive.infolist(), key=lambda record: record.header_offset)
        mapped = all(record.compress_type == zipfile.ZIP_STORED for record in records)
        ends = [*(record.header_offset for record in records[1:]), archive.start_dir]
        for record, end in zip(records, ends, strict=True):
            if mapped and "/data/" in record.filename:
                # Reading tensors for their checksum would take longer than loading them. Where they are is enough.
                archive.open(record).close()
                _check_place(file, record, end)
            else:
                archive.read(record)
    return mapped


def _check_place(file: BinaryIO, record: zipfile.ZipInfo, end: int) -> None:
    # The lengths of two fields say where the numbers begin: a flipped bit there would load those beside them.
    file.seek(record.header_offset + 26)
    start = record.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
    file.seek(start + record.file_size)
    left = end - file.tell()
    if left != 0 and (left < 0 or file.read(4) != DESCRIPTOR):
        raise zipfile.BadZipFile(f"{record.filename} is not where the directory says")


def _check_layout(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # The old torch format has no checksum at all. In an undamaged state dict each tensor is the whole of its storage;
    # a flipped offset, stride or storage number breaks that.
    owners: dict[int, str] = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        whole = storage.nbytes() == tensor.numel() * tensor.element_size() and tensor.is_contiguous()
        twin = owners.setdefault(storage.data_ptr(), name) if tensor.numel() else name
        if not whole or twin != name:
            fault = f"{name} is only a part of its data" if not whole else f"{name} shares its data with {twin}"
            raise CorruptFileError(str(path), f"a damaged pickle ({fault})", "a whole one", FETCH_AGAIN)


def _flatten(loaded: Mapping[object, object]) -> Iterator[tuple[str, Tensor]]:
    inner = {key: value for key, value in loaded.items() if isinstance(value, Mapping)}
    for key in NESTING_KEYS:
        if key in inner:
            yield from _flatten(inner[key])
            return
    for name, value in loaded.items():
        if isinstance(value, Tensor):
            yield str(name), value
        elif isinstance(value, Mapping):
            yield from ((f"{name}.{key}", tensor) for key, tensor in _flatten(value))


def _unsafe(path: Path, refused: str) -> UnsafeFileError:
    return UnsafeFileError(
        str(path),
        f"a pickle that asks for more than tensors ({refused[:120]})",
        "a file of tensors alone",
        "Nothing of it was run. Use a .safetensors version of this adapter.",
    )


def _damaged(path: Path, error: Exception) -> CorruptFileError:
    reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:160]}"
    return CorruptFileError(str(path), f"a damaged or cut-off file ({reason})", "a whole weights file", FETCH_AGAIN)
