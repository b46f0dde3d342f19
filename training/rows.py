"""Read rows of safetensors files without mapping them.

With mapped memory, a file that another process truncates kills this one. Here it is an ordinary error.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

# Types of the tensors in examples, by safetensors' names.
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "U8": torch.uint8}
FACTS = "__metadata__"
# safetensors' own limit; a damaged length must not make us read gigabytes.
LONGEST_HEADER = 100_000_000
# Errors raised by reading a damaged file.
ROW_DAMAGE = (OSError, ValueError, LookupError, TypeError, RecursionError)


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file.

    Attributes:
        facts: Metadata by name.
        tensors: Description of each tensor, unchecked.
        start: Offset of the data.
        stamp: The file's size and modification time.
    """

    facts: Mapping[str, str]
    tensors: Mapping[str, Any]
    start: int
    stamp: tuple[int, int]


def _read_header(file: BinaryIO) -> Header:
    """Read the header of an open file; raises one of :data:`ROW_DAMAGE` if there is none."""
    stamp = _stamp(file)
    length = int.from_bytes(_exactly(file, 8), "little")
    if length > min(LONGEST_HEADER, stamp[0] - 8):
        raise ValueError(f"a header of {length} bytes in a file of {stamp[0]}")
    tensors = dict(json.loads(_exactly(file, length)))
    facts = dict(tensors.pop(FACTS, {}))
    end = 8 + length + max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    if end != stamp[0]:
        raise ValueError(f"{stamp[0]} of {end} bytes")
    return Header(facts, tensors, 8 + length, stamp)


def read_facts(path: Path) -> dict[str, str]:
    """Read the metadata of a file; raises one of :data:`ROW_DAMAGE` if it is damaged."""
    with path.open("rb") as file:
        return dict(_read_header(file).facts)


def tensor_places(path: Path) -> dict[str, tuple[str, list[int], tuple[int, int]]]:
    """Return type, shape, and first byte and length of each tensor; raises one of :data:`ROW_DAMAGE` if damaged."""
    with path.open("rb") as file:
        header = _read_header(file)
    return {
        name: (str(entry["dtype"]), list(entry["shape"]), (header.start + first, last - first))
        for name, entry in header.tensors.items()
        for first, last in [entry["data_offsets"]]
    }


def read_row(path: Path, number: int, facts: Mapping[str, str]) -> dict[str, Tensor]:
    """Read the tensors whose names start with a number and a dot.

    Args:
        path: The file.
        number: The number.
        facts: Metadata that the file must have; others are ignored.

    Returns:
        The tensors by the rest of their names, in unmapped memory.

    Raises:
        OSError, ValueError, LookupError, TypeError, RecursionError: :data:`ROW_DAMAGE`: the file is missing, damaged,
            another one, or changed while it was read.
    """
    prefix = f"{number}."
    with path.open("rb") as file:
        header = _read_header(file)
        if any(header.facts[name] != value for name, value in facts.items()):
            raise ValueError("it was written again")
        names = sorted(name for name in header.tensors if name.startswith(prefix))
        row = {name.removeprefix(prefix): _tensor(file, header, header.tensors[name]) for name in names}
        if _stamp(file) != header.stamp:
            raise ValueError("it changed while it was read")
    return row


def _tensor(file: BinaryIO, header: Header, entry: Mapping[str, Any]) -> Tensor:
    dtype, shape = _DTYPES[entry["dtype"]], [int(side) for side in entry["shape"]]
    first, last = (int(place) for place in entry["data_offsets"])
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 1 or first < 0 or last - first != size:
        raise ValueError(f"a tensor of {size} bytes from {first} to {last}")
    file.seek(header.start + first)
    return torch.frombuffer(bytearray(_exactly(file, size)), dtype=dtype).view(shape)


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise ValueError(f"{len(data)} of {size} bytes")
    return data


def _stamp(file: BinaryIO) -> tuple[int, int]:
    stat = os.fstat(file.fileno())
    return stat.st_size, stat.st_mtime_ns
