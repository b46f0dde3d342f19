"""Open a weights file of any container: names and shapes first, numbers on request."""

from __future__ import annotations

import contextlib
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .errors import FileErrors, PackError
from .impostors import FETCH_AGAIN
from .opcodes import check_pickles
from .pickles import check_tensors, check_whole, flatten, read_zip
from .stored import Stored, begins_as_safetensors, read_safetensors_header, read_stored

SAFETENSORS_SUFFIXES = (".safetensors", ".sft")
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


@dataclass(frozen=True)
class Contents:
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


def open_container(path: Path, errors: FileErrors) -> Contents:
    """Read names, shapes and metadata of a weights file; only a file from before torch 1.6 is read whole.

    Args:
        path: The file.
        errors: The classes to raise.

    Raises:
        PackError: Of ``errors.damaged``, ``errors.unsafe`` or ``errors.foreign``; see :func:`.files.read_weights`.
    """
    with damage_reported(path, errors):
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
        return Contents(outlines, lambda names: {name: tensors[name] for name in names}, {}, "pickle")


def _from_stored(path: Path, stored: Mapping[str, Stored], metadata: Mapping[str, str], container: str) -> Contents:
    outlines = {name: one.outline() for name, one in stored.items()}
    return Contents(
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
def damage_reported(path: Path, errors: FileErrors) -> Iterator[None]:
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
