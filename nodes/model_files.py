"""What the loaders offer: files, diffusers folders and the entries of bundles, by the names that workflows keep."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from ..adapter_models.errors import AdapterError
from ..adapter_models.files import DIFFUSERS_STEM, SAFETENSORS_SUFFIXES, tensor_names, weights_in_folder
from ..adapter_models.formats import members
from ..adapter_models.loading import BUNDLE_SEPARATOR
from . import host


@dataclass(frozen=True)
class FileKind:
    """What the list of a loader offers.

    Attributes:
        input: The input, for messages.
        folders: ComfyUI's names of the folders, in the order in which they are searched.
        places: The folders in words.
        entries: A diffusers folder is one entry, and so is each adapter in a CoAdapter bundle.
    """

    input: str
    folders: tuple[str, ...]
    places: str
    entries: bool = False


_STYLE_PLACES = "models/style_models, models/controlnet and models/t2i_adapter"
# ComfyUI's "controlnet" is models/controlnet and models/t2i_adapter.
ADAPTERS = FileKind("adapter_name", ("controlnet",), "models/controlnet and models/t2i_adapter", entries=True)
STYLES = FileKind("style_name", ("style_models", "controlnet"), _STYLE_PLACES)
FUSERS = FileKind("fuser_name", ("controlnet", "style_models"), _STYLE_PLACES)


def file_names(kind: FileKind) -> list[str]:
    """List what a loader offers: files and, for adapters, diffusers folders and the entries of CoAdapter bundles."""
    names: dict[str, None] = {}
    for name, path in host.model_files(kind.folders).items():
        folder = _slashed(name).rpartition("/")[0]
        if kind.entries and folder and weights_in_folder(Path(path).parent) is not None:
            names[folder] = None
            if _is_generic(name):
                continue
        names[name] = None
        # Not those of other pickles: opening all of them would take too long.
        if kind.entries and Path(path).suffix.lower() in (*SAFETENSORS_SUFFIXES, ".ckpt"):
            modified = Path(path).stat().st_mtime_ns
            names.update((f"{name}{BUNDLE_SEPARATOR}{entry}", None) for entry in _bundle(path, modified))
    return list(names)


@functools.lru_cache(maxsize=4096)  # more than anybody's files: the list is made again for every look-up
def _bundle(path: str, modified: int) -> tuple[str, ...]:
    try:
        return members(tensor_names(Path(path)))
    except AdapterError:
        return ()  # Choosing it tells what is wrong with it.


def find_file(kind: FileKind, name: str) -> tuple[Path, str | None]:
    """Find the file of an entry of a loader's list.

    Args:
        kind: What the loader offers.
        name: As in :func:`file_names`. A shared workflow may name another subfolder: the same file name is enough.

    Returns:
        The file or diffusers folder, and the entry of a bundle or None.

    Raises:
        AdapterError: There is no such file, or there are several of that name in other subfolders.
    """
    files = host.model_files(kind.folders)
    known = [entry for entry in file_names(kind) if entry.rpartition(BUNDLE_SEPARATOR)[0] not in files]
    member = ""
    if kind.entries and BUNDLE_SEPARATOR in name and _basename(name) not in map(_basename, [*files, *known]):
        name, _, member = name.rpartition(BUNDLE_SEPARATOR)
    # All diffusers files have one name, which says nothing.
    same = [entry for entry in known if _basename(entry) == _basename(name) and not _is_generic(name)]
    exact = [entry for entry in [*files, *known] if _slashed(entry) == _slashed(name)]
    if not exact and len(same) > 1:
        raise AdapterError(
            f"{kind.input} '{name}'",
            f"several files of that name ({', '.join(same)})",
            "one of them",
            "Choose it in the list.",
        )
    for entry in [*exact, *same]:
        path = files.get(entry) or _folder(kind, entry)
        if path is not None:
            return Path(path), member or None
    raise AdapterError(
        f"{kind.input} '{name}'",
        "no such file",
        f"one of {len(known)} files in {kind.places}",
        "Put the file there and refresh the node definitions (R).",
    )


def _slashed(name: str) -> str:
    """Write a name as everywhere but on Windows."""
    return name.replace("\\", "/")


def _basename(name: str) -> str:
    return _slashed(name).rsplit("/", 1)[-1]


def _is_generic(name: str) -> bool:
    return _basename(name).startswith(DIFFUSERS_STEM)


def _folder(kind: FileKind, name: str) -> str | None:
    paths = (Path(root, name) for root in host.model_roots(kind.folders))
    return next((str(path) for path in paths if weights_in_folder(path)), None)


def file_error(kind: FileKind, name: str | None) -> str | None:
    """Say what is wrong with an entry of a loader's list, or None; of a name that a link will bring, nothing."""
    if name is None:
        return None
    try:
        find_file(kind, name)
    except AdapterError as error:
        return str(error)
    return None


def file_fingerprint(kind: FileKind, name: str | None) -> tuple[str, int, int] | None:
    """Say what changes when a file is replaced: path, time and size; None for a name that a link will bring."""
    if name is None:
        return None
    path, _ = find_file(kind, name)
    weights = weights_in_folder(path) if path.is_dir() else path
    stat = (weights or path).stat()
    return str(path), stat.st_mtime_ns, stat.st_size
