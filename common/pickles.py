"""Read pickled state dicts without running code, and locate their tensors in the file.

torch trusts sizes, places and strides in a file. The checks here keep a file of a few kilobytes from expanding into
billions of numbers, and the walk through it finite.
"""

from __future__ import annotations

import struct
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .opcodes import LARGEST_PICKLE, check_pickles
from .stored import Stored

# Keys under which trainers nest the state dict.
NESTING_KEYS = ("state_dict", "model_state_dict", "adapter", "model", "module")
# Real state dicts nest at most three deep, and an SDXL checkpoint has a few thousand names.
DEEPEST_DICTS, MOST_PICKLED_ENTRIES, LONGEST_TENSOR_NAME = 16, 100_000, 1000
PIECE = 1 << 20
DESCRIPTOR = b"PK\x07\x08"


def flatten(loaded: object) -> dict[str, Tensor]:
    """Return the tensors of nested dictionaries by dotted names, without the wrappers of trainers.

    Args:
        loaded: The unpickled object. Anything but a dictionary gives no tensors.

    Raises:
        ValueError: A dictionary contains itself, or they are nested too deep or too many.
    """
    return dict(_walk(loaded, (), set())) if isinstance(loaded, Mapping) else {}


def _walk(mapping: Mapping[object, object], above: tuple[int, ...], seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Visit each dictionary once, even if several others refer to it."""
    if id(mapping) in above:
        raise ValueError("a dictionary that contains itself")
    if len(above) >= DEEPEST_DICTS or len(mapping) + len(seen) > MOST_PICKLED_ENTRIES:
        raise ValueError("dictionaries nested too deep" if len(above) >= DEEPEST_DICTS else "too many names")
    if id(mapping) in seen:
        return
    seen.add(id(mapping))
    above = (*above, id(mapping))
    nest = next((mapping[key] for key in NESTING_KEYS if isinstance(mapping.get(key), Mapping)), None)
    if isinstance(nest, Mapping):
        yield from _walk(nest, above, seen)
        return
    for key, value in mapping.items():
        # The text of any other key can be arbitrarily long.
        name = str(key) if isinstance(key, (str, int)) else type(key).__name__
        if isinstance(value, Tensor):
            yield _checked(name), value
        elif isinstance(value, Mapping):
            yield from ((_checked(f"{name}.{inner}"), tensor) for inner, tensor in _walk(value, above, seen))


def _checked(name: str) -> str:
    if len(name) > LONGEST_TENSOR_NAME:
        raise ValueError(f"a name of {len(name)} letters")
    return name


def check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not plain arrays, and those that claim more numbers than they hold.

    Raises:
        ValueError: A tensor is of this sort.
    """
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_nested:
            raise ValueError(f"{name} is a tensor without plain numbers")
        held = tensor.untyped_storage().nbytes()
        if tensor.numel() * tensor.element_size() > held:
            raise ValueError(f"{name} announces {tensor.numel()} numbers and holds {held // tensor.element_size()}")


def check_whole(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors of the old torch format that don't span their whole storage.

    The format has no checksum. In an intact state dict each tensor spans its whole storage; a flipped bit in an
    offset, stride or storage number breaks that.

    Raises:
        ValueError: A tensor is of this sort.
    """
    owners: dict[int, str] = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        if storage.nbytes() != tensor.numel() * tensor.element_size() or not tensor.is_contiguous():
            raise ValueError(f"{name} is only a part of its data")
        twin = owners.setdefault(storage.data_ptr(), name) if tensor.numel() else name
        if twin != name:
            raise ValueError(f"{name} shares its data with {twin}")


def read_zip(path: Path) -> tuple[object, dict[str, Stored]]:
    """Read everything but the numbers from a zip written by torch.

    Args:
        path: A zip.

    Returns:
        The unpickled object, and the places of its tensors.

    Raises:
        ValueError: Tensors differ from what they claim, or are not where the directory says.
        zipfile.BadZipFile: The zip is damaged, compressed, or not written by torch.
        pickle.UnpicklingError: The pickle asks for more than tensors, or is damaged.
    """
    records = check_zip(path)
    check_pickles(path)
    storages: list[Any] = []

    def keep(storage: Any, _: str) -> Any:
        storages.append(storage)
        return storage

    # Memory-mapped but never accessed: only the tensors' addresses are used. Their bytes are read from the file.
    loaded = torch.load(path, map_location=keep, weights_only=True, mmap=True)
    tensors = flatten(loaded)
    check_tensors(tensors)
    base = _base({storage.data_ptr(): storage.nbytes() for storage in storages if storage.nbytes()}, records)
    return loaded, {name: _stored(tensor, base) for name, tensor in tensors.items()}


def _stored(tensor: Tensor, base: int) -> Stored:
    storage = tensor.untyped_storage()
    begin = storage.data_ptr() - base if storage.nbytes() else 0
    return Stored(
        tensor.dtype, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), begin, storage.nbytes()
    )


def _base(mapped: Mapping[int, int], records: Mapping[int, int]) -> int:
    """Return the address to which the beginning of the file is mapped.

    Args:
        mapped: Address -> length of each storage in the pickle.
        records: Position in the file -> length of each record of numbers.

    Raises:
        ValueError: The two differ by more than that address.
    """
    base = min(mapped, default=0) - min(records, default=0)
    if {address - base: length for address, length in mapped.items()} != records:
        raise ValueError("tensors of other lengths than their records")
    return base


def check_zip(path: Path) -> dict[int, int]:
    """Check everything in a zip that torch trusts.

    Returns:
        Position -> length of each record of numbers, both in bytes.

    Raises:
        zipfile.BadZipFile: Records are compressed, together larger than the file, or not where the directory says; or
            a checksum is wrong.
    """
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        records = sorted(archive.infolist(), key=lambda record: record.header_offset)
        numbers = [record for record in records if "/data/" in record.filename]
        others = [record for record in records if "/data/" not in record.filename]
        _check_sizes(path.stat().st_size, numbers, others)
        for record in others:
            # Read to the end, which verifies the checksum. Doing so for tensors would take longer than loading them.
            with archive.open(record) as stream:
                start = stream.read(PIECE)
                while stream.read(PIECE):
                    pass
            if record.filename.endswith("/byteorder") and start != sys.byteorder.encode():
                raise zipfile.BadZipFile(f"numbers of the other byte order, {start[:20]!r}")
        for record in numbers:
            archive.open(record).close()
        ends = [*(record.header_offset for record in records[1:]), archive.start_dir]
        places = {
            _place(file, record, end): record.file_size
            for record, end in zip(records, ends, strict=True)
            if "/data/" in record.filename
        }
    return {place: length for place, length in places.items() if length}


def _check_sizes(size: int, numbers: list[zipfile.ZipInfo], others: list[zipfile.ZipInfo]) -> None:
    for record in [*numbers, *others]:
        if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
            raise zipfile.BadZipFile("it is compressed, which torch's own files never are")
    announced = sum(record.file_size for record in numbers), sum(record.file_size for record in others)
    if sum(announced) > size:
        raise zipfile.BadZipFile(f"records of {sum(announced)} bytes in a file of {size}")
    if announced[1] > LARGEST_PICKLE:
        raise zipfile.BadZipFile(f"{announced[1]} bytes beside the tensors, more than {LARGEST_PICKLE}")


def _place(file: BinaryIO, record: zipfile.ZipInfo, end: int) -> int:
    # The lengths of two fields give the start of the numbers; a flipped bit there would load other bytes.
    file.seek(record.header_offset + 26)
    start: int = record.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
    file.seek(start + record.file_size)
    left = end - file.tell()
    if left != 0 and (left < 0 or file.read(4) != DESCRIPTOR):
        raise zipfile.BadZipFile(f"{record.filename[:100]} is not where the directory says")
    return start
