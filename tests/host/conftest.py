"""Tests inside the real ComfyUI: it is imported before the first of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from . import published as files
from . import tiny


@pytest.fixture(scope="session", autouse=True)
def inside_comfyui(comfyui: Any) -> Iterator[Any]:
    """Let every test here import ComfyUI's modules and the pack's nodes."""
    threads = torch.get_num_threads()
    # The models are too small for more: waiting for each other takes longer than the work.
    torch.set_num_threads(1)
    yield comfyui
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def models(inside_comfyui: Any) -> dict[str, Any]:
    """A MODEL of each family, shared by all tests: nodes clone it, and a test must not change it."""
    return {kind: tiny.model(kind) for kind in ("SD", "SDXL")}


@pytest.fixture
def sd(models: dict[str, Any]) -> Any:
    """The MODEL of SD's shape."""
    return models["SD"]


@pytest.fixture
def sdxl(models: dict[str, Any]) -> Any:
    """The MODEL of SDXL's shape."""
    return models["SDXL"]


@pytest.fixture
def places(inside_comfyui, tmp_path, monkeypatch) -> Path:
    """A machine of its own: models, custom nodes, ControlNets and the hub's cache below this folder, all empty."""
    import folder_paths
    from t2i_adapter_pack.nodes import host

    for key, folder in (("custom_nodes", "custom_nodes"), ("controlnet", "models/ControlNet")):
        suffixes = folder_paths.folder_names_and_paths[key][1]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, ([str(tmp_path / folder)], suffixes))
    monkeypatch.delitem(folder_paths.folder_names_and_paths, "annotators")
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    for name in ("AUX_ANNOTATOR_CKPTS_PATH", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub home"))
    host.register_annotators()
    return tmp_path


@pytest.fixture(scope="session")
def published(inside_comfyui, tmp_path_factory) -> dict[str, Path]:
    """Files of random weights in the published layouts, by name."""
    return files.save_lines(tmp_path_factory.mktemp("published"))


@pytest.fixture
def weights(places, published) -> Path:
    """models/annotators with all of them."""
    folder = places / "models" / "annotators"
    folder.mkdir(parents=True)
    for name, path in published.items():
        (folder / name).symlink_to(path)
    return folder


@pytest.fixture
def output(inside_comfyui, tmp_path, monkeypatch) -> Path:
    """An output folder of this test alone."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    return tmp_path


@pytest.fixture
def folder(inside_comfyui, tmp_path, monkeypatch) -> Path:
    """The two folders of models that ComfyUI looks for adapters in, empty; this is their parent."""
    import folder_paths

    folders = [tmp_path / "controlnet", tmp_path / "t2i_adapter"]
    for path in folders:
        path.mkdir()
    suffixes = folder_paths.folder_names_and_paths["controlnet"][1]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "controlnet", ([str(path) for path in folders], suffixes))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


@pytest.fixture
def loader(inside_comfyui) -> Any:
    """Load T2I-Adapter."""
    from t2i_adapter_pack.nodes.load import LoadT2IAdapter

    return LoadT2IAdapter
