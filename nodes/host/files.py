"""ComfyUI's folders: models, annotators' weights, results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import folder_paths

ANNOTATOR_FOLDER = "annotators"
# In the output folder: of training and of saving; the second is where older versions saved.
TRAINED_FOLDERS = ("t2i_adapters", "t2i_adapter")


def model_files(folders: Sequence[str]) -> dict[str, str]:
    """Return the paths of model files by name; earlier folders win.

    Args:
        folders: ComfyUI's names of the folders, in search order.
    """
    found: dict[str, str] = {}
    for folder in folders:
        for name in folder_paths.get_filename_list(folder):
            path = folder_paths.get_full_path(folder, name)
            if path is not None:
                found.setdefault(name, path)
    return found


def model_roots(folders: Sequence[str]) -> list[str]:
    """Return the paths that ComfyUI searches for these model folders."""
    return [root for folder in folders for root in folder_paths.get_folder_paths(folder)]


def output_path(prefix: str) -> tuple[Path, str]:
    """Return the folder and the next free file name, without suffix, for a prefix in the output folder."""
    folder, name, counter, _, _ = folder_paths.get_save_image_path(prefix, str(output_folder()))
    return Path(folder), f"{name}_{counter:05}_"


def output_folder() -> Path:
    """Return ComfyUI's output folder."""
    return Path(folder_paths.get_output_directory())


def register_annotators() -> None:
    """Register models/annotators as a model folder, after those in the user's extra_model_paths.yaml."""
    named, suffixes = folder_paths.folder_names_and_paths.get(ANNOTATOR_FOLDER, ([], set()))
    own = str(Path(folder_paths.models_dir, ANNOTATOR_FOLDER))
    paths = [*named, *([] if own in named else [own])]
    # A folder known only from the yaml file has no suffixes, and ComfyUI would list every file in it.
    known = {*suffixes, *folder_paths.supported_pt_extensions}
    folder_paths.folder_names_and_paths[ANNOTATOR_FOLDER] = (paths, known)


def register_trained() -> None:
    """Let loaders find the adapters that training and Save T2I-Adapter write into the output folder.

    A folder name of its own, of safetensors alone: ComfyUI's "controlnet" would list the states of runs too.
    """
    paths = [str(output_folder() / folder) for folder in TRAINED_FOLDERS]
    folder_paths.folder_names_and_paths[TRAINED_FOLDERS[0]] = (paths, {".safetensors"})


def annotator_folders() -> list[Path]:
    """Return the folders of annotators' weights; downloads go to the first."""
    return [Path(path) for path in folder_paths.get_folder_paths(ANNOTATOR_FOLDER)]


def annotator_names() -> list[str]:
    """List the files in those folders, including subfolders."""
    return list(folder_paths.get_filename_list(ANNOTATOR_FOLDER))


def annotator_path(name: str) -> Path | None:
    """Return the path of one of :func:`annotator_names`, or None."""
    path = folder_paths.get_full_path(ANNOTATOR_FOLDER, name)
    return None if path is None else Path(path)


def folders_of_other_packs() -> tuple[list[Path], list[Path]]:
    """Return the folders where other packs may keep weights: custom_nodes folders, and ControlNet folders."""
    packs = folder_paths.get_folder_paths("custom_nodes")
    return [Path(path) for path in packs], [Path(path) for path in folder_paths.get_folder_paths("controlnet")]
