"""Entries of the cache: one file per example, named by its key, in a folder per recipe."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from .buckets import PixelSize
from .checkpoints import write_whole
from .packing import pack, unpack
from .rows import read_row

# Names of tensors in a file; all others belong to the prompts, under the denoiser's names, a row for each caption.
LATENTS, IMAGE = "picture.latents", "picture.condition"
# Prefix of the names of prompts' last columns, which tell sizes.
TOLD_SIZES = "sizes."
# Name of a file: its key, size in pixels, whether the map is the user's, and size in bytes. So the folder's listing
# describes all examples.
_NAME = re.compile(r"([0-9a-f]{32})-(\d+)x(\d+)(-own)?-(\d+)\.safetensors")
_SKIPPED = re.compile(r"([0-9a-f]{32})\.skipped")
# Characters of a key that name the subfolder.
_FOLDER = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """An example on the disk.

    Attributes:
        size: Height and width in pixels.
        own: Whether the condition map is the user's.
        length: Size of the file in bytes.
    """

    size: PixelSize
    own: bool
    length: int

    def path(self, folder: Path, key: bytes) -> Path:
        """Return the file of an entry in a recipe's folder."""
        name = key.hex()
        own = "-own" if self.own else ""
        return folder / name[:_FOLDER] / f"{name}-{self.size[1]}x{self.size[0]}{own}-{self.length}.safetensors"


def write_entry(folder: Path, key: bytes, tensors: Mapping[str, Tensor], own: bool) -> None:
    """Write an example.

    Args:
        folder: The recipe's folder.
        key: The example's key; see :meth:`.recipe.Recipe.key`.
        tensors: Latents (1, C, h, w), condition map (1, C, H, W) in bytes, a row of each prompt
            tensor for each caption, and the columns that tell sizes.
        own: Whether the map is the user's.

    Raises:
        CheckpointError: The file can't be written.
    """
    image = tensors[IMAGE][0]
    rows = {LATENTS: tensors[LATENTS], IMAGE: pack(image)}
    rows |= {name: _halved(tensor) for name, tensor in tensors.items() if name not in rows}
    # Rows of a file have numbers; this one has a single row.
    numbered = {f"0.{name}": tensor.contiguous() for name, tensor in rows.items()}
    data = safetensors.torch.save(numbered, {"key": key.hex()})
    path = Entry((image.shape[-2], image.shape[-1]), own, len(data)).path(folder, key)
    write_whole(path, lambda file: file.write(data))


def _halved(tensor: Tensor) -> Tensor:
    """Return a prompt in half precision, unless a number is too large for it."""
    half = tensor.half()
    return half if torch.isfinite(half).all() else tensor


def read_entry(path: Path, key: bytes) -> dict[str, Tensor]:
    """Read an example; raises one of :data:`.rows.ROW_DAMAGE` if it is missing or damaged.

    Args:
        path: The file.
        key: The example's key; see :meth:`.recipe.Recipe.key`.

    Returns:
        The tensors of :func:`write_entry`; prompts may be in half precision.
    """
    row = read_row(path, 0, {"key": key.hex()})
    return {**row, LATENTS: row[LATENTS], IMAGE: unpack(row[IMAGE])[None]}


def write_skipped(folder: Path, key: bytes, reason: str) -> None:
    """Write why samples with a key are skipped.

    Raises:
        CheckpointError: The file can't be written.
    """
    data = reason.encode("utf-8", "surrogatepass")
    write_whole(_skip_path(folder, key), lambda file: file.write(data))


def read_skipped(folder: Path, key: bytes) -> str:
    """Read why samples with a key are skipped."""
    try:
        return _skip_path(folder, key).read_bytes().decode("utf-8", "surrogatepass")
    except (OSError, UnicodeDecodeError) as error:
        return f"an unknown reason ({error})"


def _skip_path(folder: Path, key: bytes) -> Path:
    return folder / key.hex()[:_FOLDER] / f"{key.hex()}.skipped"


def list_entries(folder: Path) -> tuple[dict[bytes, Entry], set[bytes]]:
    """List a recipe's folder without reading its files.

    Returns:
        The whole entries by key, and the keys of skipped samples.
    """
    entries: dict[bytes, Entry] = {}
    skipped: set[bytes] = set()
    for file in _files(folder):
        match = _NAME.fullmatch(file.name)
        if match is not None:
            key, width, height, own, size = match.groups()
            # Another run may just have removed a damaged entry.
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_size == int(size):
                    entries[bytes.fromhex(key)] = Entry((int(height), int(width)), bool(own), int(size))
        elif (match := _SKIPPED.fullmatch(file.name)) is not None:
            skipped.add(bytes.fromhex(match[1]))
    return entries, skipped


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    # A folder that does not exist yet is empty; a file that another process has just replaced is not listed.
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as parts:
        for part in parts:
            if part.is_dir():
                with os.scandir(part) as files:
                    yield from files
