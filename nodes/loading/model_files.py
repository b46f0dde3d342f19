"""The choices of the loaders: files, diffusers folders and bundle entries, by the names saved in workflows."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...adapter_models.errors import AdapterError
from ...adapter_models.loading import BUNDLE_SEPARATOR
from ...adapter_models.style_and_fuser import FUSER, STYLE_ADAPTER, Companion
from ...common.errors import LONGEST_QUOTE
from ...common.files import DIFFUSERS_STEM, weights_in_folder
from .. import host
from .bundles import BUNDLES, LISTING_SECONDS, has_tensor


@dataclass(frozen=True)
class LoaderFiles:
    """The files that a loader lists.

    Attributes:
        input: Id of the input, for messages.
        folders: ComfyUI's names of the folders, in search order.
        places: The folders in words.
        entries: Also list diffusers folders, and each adapter of a CoAdapter bundle.
        network: The network that files listed first hold; None for no order.
        word: Word of the published names of such files, for pickles.
    """

    input: str
    folders: tuple[str, ...]
    places: str
    entries: bool = False
    network: Companion[Any, Any] | None = None
    word: str = ""


_STYLE_PLACES = "models/style_models, models/controlnet and models/t2i_adapter"
# ComfyUI's "controlnet" is models/controlnet and models/t2i_adapter.
ADAPTER_FILES = LoaderFiles(
    "adapter_name",
    ("controlnet", host.TRAINED_FOLDERS[0]),
    "models/controlnet and models/t2i_adapter",
    entries=True,
)
STYLE_FILES = LoaderFiles("style_name", ("style_models", "controlnet"), _STYLE_PLACES, False, STYLE_ADAPTER, "style")
FUSER_FILES = LoaderFiles("fuser_name", ("controlnet", "style_models"), _STYLE_PLACES, False, FUSER, "fuser")


def _known(loader: LoaderFiles) -> dict[str, str]:
    """Return the paths of files and, for adapters, of diffusers folders by name. Opens no file."""
    found: dict[str, str] = {}
    for name, path in host.model_files(loader.folders).items():
        folder = _slashed(name).rpartition("/")[0]
        if loader.entries and folder and weights_in_folder(Path(path).parent) is not None:
            found.setdefault(folder, str(Path(path).parent))
            if _is_generic(name):
                continue
        found[name] = path
    return found


def file_names(loader: LoaderFiles) -> list[str]:
    """List a loader's files and, for adapters, diffusers folders and the entries of CoAdapter bundles.

    Lists of one network begin with its files.

    ComfyUI builds the list at every start and refresh, of files that the user has not chosen, so no pickle is opened.
    Entries of a pickled bundle are listed once the bundle was chosen; a workflow may name them earlier.
    """
    names: list[str] = []
    until, files = time.monotonic() + LISTING_SECONDS, _known(loader)
    if loader.network is not None:
        return sorted(files, key=lambda name: not _holds(loader, name, Path(files[name]), until))
    for name, path in files.items():
        entries = BUNDLES.listed(Path(path), until) if loader.entries else ()
        names.extend([name, *(f"{name}{BUNDLE_SEPARATOR}{entry}" for entry in entries)])
    return names


def _holds(loader: LoaderFiles, name: str, path: Path, until: float) -> bool:
    """Return whether a file seems to hold the loader's network: by its header, or by the name of a pickle."""
    found = None if loader.network is None else has_tensor(path, loader.network.signature, until)
    return loader.word in _basename(name).lower() if found is None else found


def find_file(loader: LoaderFiles, name: str) -> tuple[Path, str | None]:
    """Return the file for an entry of a loader's list.

    Args:
        loader: The loader's files.
        name: As in :func:`file_names`. A shared workflow may name another subfolder; the same file name is enough.

    Returns:
        The file or diffusers folder, and the bundle entry or None.

    Raises:
        AdapterError: The file does not exist, or other subfolders hold several of that name.
    """
    files, known = host.model_files(loader.folders), _known(loader)
    where, member = f"{loader.input} '{_short(name, LONGEST_QUOTE)}'", ""
    if loader.entries and BUNDLE_SEPARATOR in name and _basename(name) not in map(_basename, [*files, *known]):
        name, _, member = name.rpartition(BUNDLE_SEPARATOR)
    for entry, path in {**files, **known}.items():
        if _slashed(entry) == _slashed(name):
            return Path(path), member or None
    # All diffusers files share one generic name, which identifies nothing.
    same = [entry for entry in known if _basename(entry) == _basename(name) and not _is_generic(name)]
    # Several links to one file count as one file.
    if len({_identity(known[entry]) for entry in same}) > 1:
        listed = ", ".join(_short(entry, LONGEST_QUOTE // 3) for entry in same[:3])
        more = f" and {len(same) - 3} more" if len(same) > 3 else ""
        raise AdapterError(
            where,
            f"several files of that name ({listed}{more})",
            "one of them",
            "Choose it in the list.",
            says="Several folders hold a file of this name.",
        )
    if same:
        return Path(known[min(same, key=len)]), member or None
    raise AdapterError(
        where,
        "no such file",
        f"one of {len(known)} files in {loader.places}",
        "Put the file there and refresh the node definitions (R).",
        says="This file is not in ComfyUI's folders.",
    )


def _identity(path: str) -> tuple[object, ...]:
    try:
        stat = Path(path).stat()
    except OSError:
        return (path,)
    return (stat.st_dev, stat.st_ino) if stat.st_ino else (path,)


def _short(name: str, most: int) -> str:
    """Shorten a long name to its end, where names differ."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _slashed(name: str) -> str:
    """Return a name with forward slashes."""
    return name.replace("\\", "/")


def _basename(name: str) -> str:
    return _slashed(name).rsplit("/", 1)[-1]


def _is_generic(name: str) -> bool:
    return _basename(name).startswith(DIFFUSERS_STEM)


def file_error(loader: LoaderFiles, name: str | None) -> str | None:
    """Return the error for an entry of a loader's list, or None if it is valid or a link supplies it."""
    if name is None:
        return None
    try:
        path, member = find_file(loader, name)
        if member is not None:
            _check_entry(f"{loader.input} '{_short(name, LONGEST_QUOTE)}'", path, member)
    except AdapterError as error:
        return str(error)
    if loader.entries and path.suffix.lower() == ".ckpt":
        # Lists do not open pickles. The user chose this one, so lists may show its entries from now on.
        with contextlib.suppress(AdapterError):
            BUNDLES.ask(path)
    return None


def _check_entry(where: str, path: Path, member: str) -> None:
    entries = BUNDLES.ask(path)
    if member not in entries:
        found = (
            f"a CoAdapter bundle of {_short(', '.join(entries), LONGEST_QUOTE)}"
            if entries
            else "a file without entries"
        )
        fix = "Choose another entry, or drop the '#…'."
        expected = f"an entry '{_short(member, LONGEST_QUOTE)}' in it"
        raise AdapterError(where, found, expected, fix, says="This file has no such entry.")


def file_fingerprint(loader: LoaderFiles, name: str | None) -> tuple[str, int, int] | None:
    """Return path, modification time (ns) and size of a file; None if a link supplies the name."""
    if name is None:
        return None
    path, _ = find_file(loader, name)
    weights = weights_in_folder(path) if path.is_dir() else path
    stat = (weights or path).stat()
    return str(path), stat.st_mtime_ns, stat.st_size
