"""Untrusted files in ComfyUI's folders: nothing in them runs, and links are followed only where ComfyUI does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ..common.test_files import PLACES, Evaluates, RunsACommand, WritesAFile
from . import tiny

pytestmark = pytest.mark.host
ESCAPES = ("../elsewhere/file.pth", "..\\elsewhere\\file.pth", "{folder}/elsewhere/file.pth", "..", "/", "", "a\0b")


@pytest.fixture
def controlnets(inside_comfyui, tmp_path, monkeypatch) -> Path:
    """models/controlnet and models/style_models of this test alone: one folder."""
    import folder_paths

    folder = tmp_path / "models"
    folder.mkdir()
    for key in ("controlnet", "style_models"):
        suffixes = folder_paths.folder_names_and_paths[key][1]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, ([str(folder)], suffixes))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return folder


def loaders() -> dict[str, Any]:
    """The nodes that load a file of the user's, each as a function of the name."""
    from t2i_adapter_pack.nodes.combine import LoadCoAdapterFuser
    from t2i_adapter_pack.nodes.load import LoadT2IAdapter
    from t2i_adapter_pack.nodes.style import LoadT2IStyleAdapter

    return {node.__name__: node.execute for node in (LoadT2IAdapter, LoadCoAdapterFuser, LoadT2IStyleAdapter)}


@pytest.mark.parametrize("node", ["LoadT2IAdapter", "LoadCoAdapterFuser", "LoadT2IStyleAdapter"])
@pytest.mark.parametrize("bomb", [RunsACommand, Evaluates, WritesAFile])
@pytest.mark.parametrize("place", PLACES)
def test_no_loader_runs_what_a_pickle_asks_for(controlnets, node, bomb, place, tmp_path):
    from t2i_adapter_pack.adapter_models.errors import UnsafeFileError

    marker = tmp_path / "marker"
    torch.save(PLACES[place](bomb(marker)), controlnets / "file.pth")
    with pytest.raises(UnsafeFileError, match="Nothing of it was run"):
        loaders()[node]("file.pth")
    assert not marker.exists()


@pytest.mark.parametrize("node", ["LoadT2IAdapter", "LoadCoAdapterFuser", "LoadT2IStyleAdapter"])
@pytest.mark.parametrize("name", ESCAPES)
def test_no_loader_leaves_the_folders_of_models(controlnets, node, name, tmp_path):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    (tmp_path / "elsewhere").mkdir()
    torch.save({"a": torch.zeros(1)}, tmp_path / "elsewhere" / "file.pth")
    with pytest.raises(AdapterError, match="no such file"):
        loaders()[node](name.format(folder=tmp_path))


@pytest.mark.parametrize("bomb", [RunsACommand, Evaluates, WritesAFile])
def test_no_annotator_runs_what_a_pickle_asks_for(places, bomb):
    from t2i_adapter_pack.annotators.errors import AnnotatorError
    from t2i_adapter_pack.nodes.annotate_lines import T2IAnnotateSketch

    marker, folder = places / "marker", places / "models" / "annotators"
    folder.mkdir(parents=True)
    torch.save({"state_dict": {"a": torch.zeros(1), "b": bomb(marker)}}, folder / "table5_pidinet.pth")
    with pytest.raises(AnnotatorError, match="asks for more than tensors"):
        T2IAnnotateSketch.execute(torch.zeros(1, 64, 64, 3), weights="table5_pidinet.pth")
    assert not marker.exists()


def test_links_in_the_folders_of_models_are_followed(controlnets, tmp_path):
    """Users keep models on other disks, and ComfyUI follows their links."""
    config = tiny.adapter_config()
    (tmp_path / "disk").mkdir()
    saved = tiny.save_adapter(tmp_path / "disk", config, 0, name="mine")
    (controlnets / "linked.safetensors").symlink_to(saved)
    (controlnets / "folder").symlink_to(tmp_path / "disk", target_is_directory=True)
    for name in ("linked.safetensors", "folder/mine.safetensors"):
        adapter = loaders()["LoadT2IAdapter"](name)[0]
        weights = adapter.network.state_dict()
        assert all(torch.equal(weights[key], value) for key, value in tiny.adapter_weights(config, 0).items())


@pytest.mark.parametrize("format", ["original", "diffusers"])
def test_saving_writes_through_no_link(output, tmp_path_factory, format):
    from t2i_adapter_pack.nodes.save import SaveT2IAdapter
    from t2i_adapter_pack.training.errors import CheckpointError

    disk = tmp_path_factory.mktemp("disk")
    other = disk / "other"
    other.write_bytes(b"mine")
    (output / "disk").symlink_to(disk, target_is_directory=True)
    adapter = tiny.adapter(tiny.adapter_config())
    with pytest.raises(CheckpointError, match="expected a folder in the output folder"):
        SaveT2IAdapter.execute(adapter, "disk/x", format)
    # In every folder that a name could lead to: ComfyUI's counter continues from existing files.
    for name in ("x_00001_.safetensors", "x_00001_", "x_00002_.safetensors"):
        (output / name).symlink_to(other)
    SaveT2IAdapter.execute(adapter, "x", format)
    assert [path.name for path in disk.iterdir()] == ["other"]
    assert other.read_bytes() == b"mine"
    made = output / ("x_00003_" if format == "diffusers" else "x_00003_.safetensors")
    assert made.exists()
    assert not made.is_symlink()
