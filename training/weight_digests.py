"""Digests of weight files, read once and remembered by path, size, time and inode."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .checkpoints import write_whole
from .rows import ROW_DAMAGE, tensor_places

MEMORY = "weights.json"
# Bytes read at a time.
_CHUNK = 1 << 22
_THREADS = min(8, os.cpu_count() or 1)
# First bytes and lengths of the parts of a file that count.
Places = Sequence[tuple[int, int]]


class WeightDigests:
    """Digests of files, remembered in a folder.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / MEMORY

    def whole(self, path: Path) -> str:
        """Return a digest of a file's bytes.

        Raises:
            OSError: The file can't be read.
            CheckpointError: The digest can't be written.
        """
        return self._remembered(path, "whole", _whole)

    def without(self, path: Path, prefixes: tuple[str, ...]) -> str:
        """Return a digest of a file's tensors, except those with certain prefixes.

        Args:
            path: A safetensors file; of any other, all bytes count.
            prefixes: Prefixes of names, such as those of the UNet in a checkpoint whose text encoder and VAE count.

        Raises:
            OSError: The file can't be read.
            CheckpointError: The digest can't be written.
        """
        return self._remembered(path, "without " + " ".join(prefixes), lambda path: _without(path, prefixes))

    def _remembered(self, path: Path, what: str, read: Callable[[Path], str]) -> str:
        stat = path.stat()
        stamp = json.dumps([what, os.path.realpath(path), stat.st_size, stat.st_mtime_ns, stat.st_ino])
        known = self._read()
        if not isinstance(known.get(stamp), str):
            found = read(path)
            data = json.dumps(self._read() | {stamp: found}, indent=1).encode()
            write_whole(self._file, lambda file: file.write(data))
            return found
        return str(known[stamp])

    def _read(self) -> dict[str, object]:
        try:
            known = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def _whole(path: Path) -> str:
    size = path.stat().st_size
    return _digest(path, [b""], [(first, min(_CHUNK, size - first)) for first in range(0, size, _CHUNK)])


def _without(path: Path, prefixes: tuple[str, ...]) -> str:
    try:
        tensors = {name: place for name, place in tensor_places(path).items() if not name.startswith(prefixes)}
    except ROW_DAMAGE:
        return _whole(path)
    names = sorted(tensors)
    described = [json.dumps([name, *tensors[name][:2]]).encode() for name in names]
    return _digest(path, described, [tensors[name][2] for name in names])


def _digest(path: Path, described: Sequence[bytes], places: Places) -> str:
    """Return a digest of descriptions and of parts of a file; threads read the parts."""
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = list(pool.map(lambda place: _of_part(path, *place), places))
    digest = hashlib.blake2b(digest_size=16)
    for part in (*described, *parts):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _of_part(path: Path, first: int, length: int) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        file.seek(first)
        while length > 0:
            data = file.read(min(_CHUNK, length))
            if not data:
                break
            digest.update(data)
            length -= len(data)
    return digest.digest()
