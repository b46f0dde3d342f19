"""Find the annotators' weights: in models/annotators, in the folders of other programs, or on the web.

Only combo entries that start with "download" download anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...annotators.catalogue import PUBLISHED, PublishedFile, chosen_for_download, published_as
from ...annotators.errors import AnnotatorError
from .. import host
from ..inputs import name_error
from .downloads import download, how_to_get_in_graph
from .partial_file import DownloadProgress

AUTO = "auto"


@dataclass(frozen=True)
class OtherProgram:
    """The folders in which another program keeps the same files. We only read them.

    Attributes:
        roots: Returns the folders to search, given the environment variables.
        patterns: Glob patterns inside a folder, with the fields ``{owner}`` and ``{name}`` (of the repository),
            ``{path}`` (inside the repository) and ``{file}`` (our name of the file).
    """

    roots: Callable[[Mapping[str, str]], Iterable[Path]]
    patterns: tuple[str, ...]


def _auxiliary(environment: Mapping[str, str]) -> Iterator[Path]:
    named = environment.get("AUX_ANNOTATOR_CKPTS_PATH")
    if named:
        yield Path(named)
    packs, _ = host.folders_of_other_packs()
    yield from (pack / "comfyui_controlnet_aux" / "ckpts" for pack in packs)


def _web_ui(_: Mapping[str, str]) -> Iterator[Path]:
    _, controlnets = host.folders_of_other_packs()
    for folder in controlnets:
        # The web UI's ControlNet extension has the folders models and annotator/downloads; Forge has the folders
        # models/ControlNet and models/ControlNetPreprocessor.
        yield folder.parent / "annotator" / "downloads"
        yield folder.parent / "ControlNetPreprocessor"


def _hub_caches(environment: Mapping[str, str]) -> Iterator[Path]:
    home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    yield Path(environment.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()


_HUB_CACHE = "models--{owner}--{name}/snapshots/*/{path}"
_OTHER_PROGRAMS = (
    OtherProgram(_auxiliary, ("{owner}/{name}/{path}", _HUB_CACHE, "{file}", "*/{file}", "*/*/{file}")),
    OtherProgram(_web_ui, ("{file}", "*/{file}", "*/*/{file}")),
    OtherProgram(_hub_caches, (_HUB_CACHE,)),
)


def _elsewhere(row: PublishedFile, environment: Mapping[str, str] = os.environ) -> Path | None:
    for program in _OTHER_PROGRAMS:
        for root in program.roots(environment):
            if root.is_dir():
                files = (path for pattern in _filled(program, row) for path in root.glob(pattern) if path.is_file())
                if (path := next(files, None)) is not None:
                    return path
    return None


def _filled(program: OtherProgram, row: PublishedFile) -> list[str]:
    patterns: dict[str, None] = {}
    for repository, path in row.on_hub:
        owner, name = repository.split("/")
        for pattern in program.patterns:
            patterns[pattern.format(owner=owner, name=name, path=path, file=row.file)] = None
    return list(patterns)


@dataclass(frozen=True)
class WeightsChoice:
    """The entries of a node's weights combo, and the files that they name.

    Attributes:
        rows: Published files that the node can use; "auto" uses the first one found.
        unknown: True if the node also lists files with unknown names; loading then identifies them.
        catalogue: All published files, so that another node's files are not listed as unknown.
    """

    rows: tuple[PublishedFile, ...]
    unknown: bool = True
    catalogue: tuple[PublishedFile, ...] = PUBLISHED

    def options(self) -> list[str]:
        """List "auto", the files found, and the published files that can be downloaded."""
        found = self.available()
        found_files = {row.file for name in found if (row := published_as(name, self.rows))}
        return [AUTO, *found, *(row.entry for row in self.rows if row.file not in found_files)]

    def available(self) -> dict[str, Path]:
        """Return the files found, by the name shown to the user; our folders come before other programs'."""
        found = {}
        for name in host.annotator_names():
            path, row = host.annotator_path(name), published_as(name, self.catalogue)
            if path is not None and (row in self.rows if row else self.unknown):
                found[name] = path
        for row in self.rows:
            if (
                not any(published_as(name, self.rows) is row for name in found)
                and (path := _elsewhere(row)) is not None
            ):
                found[row.file] = path
        return found

    def check(self, entry: str | None) -> bool | str:
        """Check an entry before anything runs: return True, or the error.

        Args:
            entry: One of :meth:`options`, or None if a link supplies it.
        """
        if (error := name_error("weights", entry)) is not None:
            return error
        try:
            if entry is not None and self.chosen(entry) is None:
                self._existing(entry)
        except AnnotatorError as refused:
            return str(refused)
        return True

    def find(self, entry: str, progress: DownloadProgress) -> tuple[str, Path]:
        """Return an entry's file; download it first if the entry is a download and the file is not found.

        Args:
            entry: One of :meth:`options`; or an entry of an older list, from a saved workflow.
            progress: Called during a download.

        Returns:
            The file's name and its path.

        Raises:
            AnnotatorError: The file was not found, or could not be downloaded.
        """
        chosen = self.chosen(entry)
        if chosen is None:
            return self._existing(entry)
        path = next((path for name, path in self.available().items() if published_as(name, self.rows) is chosen), None)
        return chosen.file, path or download(chosen, host.annotator_folders()[0], progress)

    def chosen(self, entry: str) -> PublishedFile | None:
        """Return the row of a "download" entry, or None if the entry names a file.

        Raises:
            AnnotatorError: The file belongs to another annotator.
        """
        row = chosen_for_download(entry, self.catalogue)
        if row is not None and row not in self.rows:
            files = " or ".join(row.file for row in self.rows)
            says = f"{row.file} has weights for {row.annotator}, which this annotator cannot use."
            got = f"weights for {row.annotator}"
            raise AnnotatorError(f"weights '{entry}'", got, files, "Choose one of those.", says=says)
        return row

    def fingerprint(self, entry: str | None) -> tuple[str, int, int] | None:
        """Return path, modification time (ns) and size in bytes of an entry's file; None if it is not found."""
        try:
            row = self.chosen(entry or AUTO)
            return stamp(self._existing(row.file if row else entry or AUTO)[1])
        except (AnnotatorError, OSError):
            return None

    def fingerprints(self) -> list[tuple[str, int, int]]:
        """Return the fingerprints of all available files."""
        return [stamp(path) for path in self.available().values()]

    def _existing(self, entry: str) -> tuple[str, Path]:
        found = self.available()
        for wanted in [row.file for row in self.rows] if entry == AUTO else [entry]:
            if wanted in found:
                return wanted, found[wanted]
            # A shared workflow may name another subfolder; the same file name is enough.
            same = [name for name in found if _file_name(name) == _file_name(wanted)]
            if same:
                return same[0], found[same[0]]
        says = f"The weights '{entry}' were not found on this computer."
        if entry == AUTO:
            says = "No weights for this annotator were found on this computer."
        missing = published_as(entry, self.rows) or self.rows[0]
        folder = host.annotator_folders()[0]
        raise AnnotatorError(
            f"weights '{entry}'",
            "no such file",
            f"{missing.file if entry == AUTO else entry} in {folder}, or where another pack keeps it",
            how_to_get_in_graph(missing, folder),
            says=says,
        )


def _file_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[-1]


def stamp(path: Path) -> tuple[str, int, int]:
    """Return a file's path, modification time (ns) and size in bytes."""
    stat = path.stat()
    return str(path), stat.st_mtime_ns, stat.st_size
