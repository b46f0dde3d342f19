"""Find the annotators' weights: in models/annotators, where other packs keep them, or on the web.

Nothing is downloaded by itself: only an entry of the combo that says so does it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...annotators.catalogue import PUBLISHED, PublishedFile, chosen_for_download, how_to_get, published_as
from ...annotators.errors import AnnotatorError
from .. import host
from ..inputs import name_error
from .downloads import Progress, download

AUTO = "auto"


@dataclass(frozen=True)
class Place:
    """Where other programs keep the same files. They are only read.

    Attributes:
        roots: Gives the folders, from the environment.
        patterns: Where in them, with the repository (``{owner}``, ``{name}``), its ``{path}`` and our ``{file}``.
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
        # extensions/sd-webui-controlnet/models is named beside annotator/downloads, Forge's models/ControlNet beside
        # ControlNetPreprocessor.
        yield folder.parent / "annotator" / "downloads"
        yield folder.parent / "ControlNetPreprocessor"


def _hub_caches(environment: Mapping[str, str]) -> Iterator[Path]:
    home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    yield Path(environment.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()


CACHED = "models--{owner}--{name}/snapshots/*/{path}"
PLACES = (
    Place(_auxiliary, ("{owner}/{name}/{path}", CACHED, "{file}", "*/{file}", "*/*/{file}")),
    Place(_web_ui, ("{file}", "*/{file}", "*/*/{file}")),
    Place(_hub_caches, (CACHED,)),
)


def _elsewhere(row: PublishedFile, environment: Mapping[str, str] = os.environ) -> Path | None:
    for place in PLACES:
        for root in place.roots(environment):
            if root.is_dir():
                files = (path for pattern in _filled(place, row) for path in root.glob(pattern) if path.is_file())
                if (path := next(files, None)) is not None:
                    return path
    return None


def _filled(place: Place, row: PublishedFile) -> list[str]:
    patterns: dict[str, None] = {}
    for repository, path in row.on_hub:
        owner, name = repository.split("/")
        for pattern in place.patterns:
            patterns[pattern.format(owner=owner, name=name, path=path, file=row.file)] = None
    return list(patterns)


@dataclass(frozen=True)
class WeightsChoice:
    """What the weights combo of a node offers, and what its entries mean.

    Attributes:
        rows: The published files that the node takes; auto takes the first that is there.
        unknown: Whether it takes files of other names too, which only loading can tell.
        catalogue: All published files: what is another node's is not offered as unknown.
    """

    rows: tuple[PublishedFile, ...]
    unknown: bool = True
    catalogue: tuple[PublishedFile, ...] = PUBLISHED

    def options(self) -> list[str]:
        """List auto, the files that are there, and the published ones that could be downloaded."""
        found = self.available()
        there = {row.file for name in found if (row := published_as(name, self.rows))}
        return [AUTO, *found, *(row.entry for row in self.rows if row.file not in there)]

    def available(self) -> dict[str, Path]:
        """Find the files that are there, by the name that the user knows them by; ours before those of others."""
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
        """Tell before anything runs whether an entry can be used: True, or the error.

        Args:
            entry: Of :meth:`options`, or None where another node will give it.
        """
        if (error := name_error("weights", entry)) is not None:
            return error
        try:
            if entry is not None and self.chosen(entry) is None:
                self._there(entry)
        except AnnotatorError as refused:
            return str(refused)
        return True

    def find(self, entry: str, progress: Progress) -> tuple[str, Path]:
        """Find the file that an entry means.

        Only an entry that says so downloads, and only if the file is nowhere yet.

        Args:
            entry: Of :meth:`options`; a saved workflow may have one that is listed no more.
            progress: Told of a download.

        Returns:
            Its name and the file itself.

        Raises:
            AnnotatorError: There is no such file, or it could not be downloaded.
        """
        chosen = self.chosen(entry)
        if chosen is None:
            return self._there(entry)
        path = next((path for name, path in self.available().items() if published_as(name, self.rows) is chosen), None)
        return chosen.file, path or download(chosen, host.annotator_folders()[0], progress)

    def chosen(self, entry: str) -> PublishedFile | None:
        """Return the row that an entry would download, or None where it names a file.

        Raises:
            AnnotatorError: The file is of another annotator.
        """
        row = chosen_for_download(entry, self.catalogue)
        if row is not None and row not in self.rows:
            files = " or ".join(row.file for row in self.rows)
            raise AnnotatorError(f"weights '{entry}'", f"weights for {row.annotator}", files, "Choose one of those.")
        return row

    def fingerprint(self, entry: str | None) -> tuple[str, int, int] | None:
        """Say what changes when the file of an entry is replaced: path, time and size; None where there is none yet."""
        try:
            row = self.chosen(entry or AUTO)
            return stamp(self._there(row.file if row else entry or AUTO)[1])
        except (AnnotatorError, OSError):
            return None

    def fingerprints(self) -> list[tuple[str, int, int]]:
        """Say what changes when any of the files comes, goes or is replaced."""
        return [stamp(path) for path in self.available().values()]

    def _there(self, entry: str) -> tuple[str, Path]:
        found = self.available()
        for wanted in [row.file for row in self.rows] if entry == AUTO else [entry]:
            if wanted in found:
                return wanted, found[wanted]
            # A shared workflow may name another subfolder: the same file name is enough.
            same = [name for name in found if _plain(name) == _plain(wanted)]
            if same:
                return same[0], found[same[0]]
        missing = published_as(entry, self.rows) or self.rows[0]
        folder = host.annotator_folders()[0]
        raise AnnotatorError(
            f"weights '{entry}'",
            "no such file",
            f"{missing.file if entry == AUTO else entry} in {folder}, or where another pack keeps it",
            how_to_get(missing, folder),
        )


def _plain(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[-1]


def stamp(path: Path) -> tuple[str, int, int]:
    """Return a file's path, time and size."""
    stat = path.stat()
    return str(path), stat.st_mtime_ns, stat.st_size
