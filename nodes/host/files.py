"""Where ComfyUI keeps files: models, annotators' weights, results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import folder_paths

ANNOTATORS = "annotators"


def model_files(folders: Sequence[str]) -> dict[str, str]:
    """Return the files in folders of models by name; of two with one name the first folder's.

    Args:
        folders: ComfyUI's names of the folders, in the order in which they are searched.
    """
    found: dict[str, str] = {}
    for folder in folders:
        for name in folder_paths.get_filename_list(folder):
            path = folder_paths.get_full_path(folder, name)
            if path is not None:
                found.setdefault(name, path)
    return found


def model_roots(folders: Sequence[str]) -> list[str]:
    """Return the paths that ComfyUI searches for folders of models."""
    return [root for folder in folders for root in folder_paths.get_folder_paths(folder)]


def output_path(prefix: str) -> tuple[Path, str]:
    """Return the folder and the next free name, without suffix, that a prefix stands for in the output folder."""
    folder, name, counter, _, _ = folder_paths.get_save_image_path(prefix, str(output_folder()))
    return Path(folder), f"{name}_{counter:05}_"


def output_folder() -> Path:
    """Return where ComfyUI keeps results."""
    return Path(folder_paths.get_output_directory())


def register_annotators() -> None:
    """Make models/annotators a folder of models, behind those that the user named in extra_model_paths.yaml."""
    named, suffixes = folder_paths.folder_names_and_paths.get(ANNOTATORS, ([], set()))
    own = str(Path(folder_paths.models_dir, ANNOTATORS))
    paths = [*named, *([] if own in named else [own])]
    # A folder that only the user has named has an empty set of suffixes, which would offer every file in it.
    known = {*suffixes, *folder_paths.supported_pt_extensions}
    folder_paths.folder_names_and_paths[ANNOTATORS] = (paths, known)


def annotator_folders() -> list[Path]:
    """Return the folders of annotators' weights; downloads go into the first."""
    return [Path(path) for path in folder_paths.get_folder_paths(ANNOTATORS)]


def annotator_names() -> list[str]:
    """List the files in those folders, with their subfolders."""
    return list(folder_paths.get_filename_list(ANNOTATORS))


def annotator_path(name: str) -> Path | None:
    """Return the file of one of :func:`annotator_names`, or None."""
    path = folder_paths.get_full_path(ANNOTATORS, name)
    return None if path is None else Path(path)


def folders_of_other_packs() -> tuple[list[Path], list[Path]]:
    """Return where other packs may live: the folders of custom nodes, and those that ControlNets are loaded from."""
    packs = folder_paths.get_folder_paths("custom_nodes")
    return [Path(path) for path in packs], [Path(path) for path in folder_paths.get_folder_paths("controlnet")]
