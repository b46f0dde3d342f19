"""ComfyUI's base directory is complete and separate from ComfyUI's own folder."""

import json

import pytest
import torch
from safetensors.torch import save_file
from t2i_adapter_pack.dev.tasks import base_directory


@pytest.fixture
def comfyui(tmp_path):
    folder = tmp_path / "ComfyUI"
    for name in ("checkpoints", "controlnet", "t2i_adapter", "vae"):
        (folder / "models" / name).mkdir(parents=True)
    return folder


def test_the_pack_has_its_public_name_and_comfyui_is_unchanged(comfyui, tmp_path):
    before = sorted(comfyui.rglob("*"))
    base = base_directory.prepare(tmp_path / "base", comfyui)
    assert (base / "custom_nodes" / "ComfyUI-T2I-Adapter" / "__init__.py").is_file()
    assert sorted(comfyui.rglob("*")) == before


def test_preparing_twice_changes_nothing(comfyui, tmp_path):
    base = base_directory.prepare(tmp_path / "base", comfyui)
    before = {path: path.lstat().st_mtime_ns for path in (base / "custom_nodes").iterdir()}
    base_directory.prepare(base, comfyui)
    assert {path: path.lstat().st_mtime_ns for path in (base / "custom_nodes").iterdir()} == before


def test_models_of_the_users_comfyui_are_listed(comfyui, tmp_path):
    base = base_directory.prepare(tmp_path / "base", comfyui)
    (section,) = json.loads(base_directory.extra_models(base).read_text()).values()
    assert section["base_path"] == str(comfyui / "models")
    assert section["controlnet"].split("\n") == ["controlnet", "t2i_adapter"]
    assert section["checkpoints"] == "checkpoints"
    assert "loras" not in section


@pytest.mark.parametrize(
    ("key", "folder"),
    [("model.diffusion_model.out.2.weight", "checkpoints"), ("body.0.block1.weight", "controlnet")],
)
def test_a_model_file_goes_where_its_loader_looks(tmp_path, key, folder):
    weights = tmp_path / "any name.safetensors"
    save_file({key: torch.zeros(1)}, weights)
    assert base_directory.offer(weights, tmp_path / "base") == weights.name
    assert (tmp_path / "base" / "models" / folder / weights.name).is_file()
