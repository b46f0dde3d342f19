"""The places of tensors in a file, and reading them into their own memory.

Files are never memory-mapped: when a copy or download truncates a mapped file, accessing its weights kills the process.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import torch
from torch import Tensor

# The largest known headers, of checkpoints with a thousand tensors, have a few hundred kilobytes.
LARGEST_HEADER = 1 << 24
_METADATA_KEY = "__metadata__"
# Keyed by their names in safetensors; older torch versions lack some of them.
_TORCH_DTYPES = {
    name: getattr(torch, attribute)
    for name, attribute in (
        *(("F64", "float64"), ("F32", "float32"), ("F16", "float16"), ("BF16", "bfloat16"), ("C64", "complex64")),
        *(("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2"), ("F8_E8M0", "float8_e8m0fnu")),
        *(("I64", "int64"), ("I32", "int32"), ("I16", "int16"), ("I8", "int8"), ("BOOL", "bool")),
        *(("U64", "uint64"), ("U32", "uint32"), ("U16", "uint16"), ("U8", "uint8")),
    )
    if hasattr(torch, attribute)
}


@dataclass(frozen=True)
class Stored:
    """A tensor in a file, and the run of bytes it is a view of.

    Attributes:
        dtype: Its precision.
        shape: Its shape.
        stride: Its stride, in numbers.
        offset: Its storage offset in the run, in numbers.
        begin: Start of the run in the file, in bytes.
        nbytes: Length of the run.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    begin: int
    nbytes: int

    def outline(self) -> Tensor:
        """Return a tensor of this shape and precision without numbers (device ``meta``)."""
        return torch.empty(self.shape, dtype=self.dtype, device="meta")


def read_stored(path: Path, wanted: Mapping[str, Stored]) -> dict[str, Tensor]:
    """Read tensors from a file into their own memory; views of the same bytes share memory.

    Args:
        path: The file.
        wanted: Name -> place of the tensor.

    Returns:
        Name -> tensor.

    Raises:
        OSError: The file can't be read.
        EOFError: The file has become shorter.
    """
    runs: dict[tuple[int, int], torch.UntypedStorage] = {}
    tensors = {}
    with path.open("rb", buffering=0) as file:
        for name, one in sorted(wanted.items(), key=lambda item: item[1].begin):
            place = (one.begin, one.nbytes)
            if place not in runs:
                runs[place] = _read_run(file, *place)
            tensors[name] = torch.empty(0, dtype=one.dtype).set_(runs[place], one.offset, one.shape, one.stride)
    return {name: tensors[name] for name in wanted}


def _read_run(file: Any, begin: int, nbytes: int) -> torch.UntypedStorage:
    run = torch.empty(nbytes, dtype=torch.uint8)
    left = run.numpy().data
    file.seek(begin)
    while left:
        count = file.readinto(left)
        if not count:
            raise EOFError(f"the file ends {len(left)} bytes too early")
        left = left[count:]
    return run.untyped_storage()


def begins_as_safetensors(start: bytes, size: int) -> bool:
    """Tell from the first nine bytes of a file of ``size`` bytes: the header's length, then a JSON object."""
    return start[8:9] == b"{" and 0 < int.from_bytes(start[:8], "little") <= size - 8


def header_text(file: BinaryIO, size: int, most: int) -> bytes:
    """Read the header of a safetensors file.

    Args:
        file: The file, at its beginning.
        size: Its length in bytes.
        most: Largest header to read, in bytes.

    Raises:
        ValueError: There is no header, or it is too long.
    """
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= size - 8:
        raise ValueError(f"a header of {length} bytes in a file of {size}")
    if length > most:
        raise ValueError(f"a header of {length} bytes, more than {most}")
    text = file.read(length)
    if len(text) < length:
        raise ValueError(f"the file ends {length - len(text)} bytes before its header does")
    return text


def read_safetensors_header(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """Read the places of the tensors in a safetensors file, and its metadata.

    Raises:
        ValueError: The header is damaged or does not match the file.
        TypeError: The header is not an object of objects.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        text = header_text(file, size, LARGEST_HEADER)
    content = json.loads(text)
    if not isinstance(content, dict):
        raise TypeError(f"a header that is a JSON {type(content).__name__}")
    metadata = content.pop(_METADATA_KEY, None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("metadata that is not text")
    start = 8 + len(text)
    stored = {name: _entry(name, entry, start) for name, entry in content.items()}
    _check_places(stored.values(), start, size)
    return stored, metadata


def _entry(name: str, entry: object, start: int) -> Stored:
    if not isinstance(entry, dict):
        raise TypeError(f"no entry for {name[:100]}")
    dtype, shape, places = _TORCH_DTYPES.get(str(entry.get("dtype"))), entry.get("shape"), entry.get("data_offsets")
    if dtype is None or not _counts(shape) or not _counts(places):
        raise ValueError(f"an entry that can't be read for {name[:100]}")
    begin, end = places
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{end - begin} bytes for {name[:100]} of shape {shape[:8]}")
    stride = tuple(accumulate(reversed(shape[1:]), lambda a, b: a * b, initial=1))[::-1] if shape else ()
    return Stored(dtype, tuple(shape), stride, 0, start + begin, end - begin)


def _counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)


def _check_places(stored: Iterable[Stored], start: int, size: int) -> None:
    """Refuse tensors that overlap, leave gaps, or don't end where the file does."""
    for one in sorted(stored, key=lambda one: (one.begin, one.nbytes)):
        if one.begin != start:
            raise ValueError("tensors that overlap or leave gaps")
        start += one.nbytes
    if start != size:
        raise ValueError(f"tensors up to byte {start} in a file of {size}")
