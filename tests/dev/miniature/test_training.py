"""Training of the miniature: adapters with the pack's nodes, and a second model from the first."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from t2i_adapter_miniature import adapters, checkpoint, generate, measure, scenes, stages, train

pytestmark = [pytest.mark.host, pytest.mark.workshop]
WEIGHTS = Path(generate.__file__).parent / "weights"
PLAN = adapters.AdapterPlan("seg", pictures=6, steps=5, batch=2)


@pytest.fixture(scope="module")
def studio(comfyui) -> Any:
    return generate.Studio(str(comfyui.path), WEIGHTS)


def test_an_adapter_is_trained_saved_and_named_for_its_condition(studio, tmp_path):
    file = adapters.train_adapter(studio, PLAN, tmp_path, tmp_path / "work")
    assert file == tmp_path / checkpoint.adapter_file("seg")
    state = load_file(file)
    published = load_file(WEIGHTS / file.name)
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in published.items()
    }
    with safe_open(str(file), framework="pt") as opened:
        assert "segmentation" in opened.metadata().values()


def test_an_adapter_starts_from_another(studio, tmp_path):
    plan = replace(PLAN, steps=1, rate=1e-9, begin="sketch")
    with pytest.raises(FileNotFoundError, match="seg begins with sketch"):
        adapters.train_adapter(studio, plan, tmp_path, tmp_path / "work")
    first = tmp_path / checkpoint.adapter_file("sketch")
    shutil.copy(WEIGHTS / first.name, first)
    got, before = load_file(adapters.train_adapter(studio, plan, tmp_path, tmp_path / "work")), load_file(first)
    widened = [name for name in got if got[name].shape != before[name].shape]
    assert widened == ["conv_in.weight"]
    assert all(torch.allclose(got[name], before[name], atol=1e-4) for name in got if name not in widened)


def test_an_interrupted_training_resumes_bit_for_bit(studio, tmp_path, monkeypatch):
    whole = load_file(adapters.train_adapter(studio, PLAN, tmp_path, tmp_path / "whole"))
    monkeypatch.setattr(adapters, "PART", 2)
    for steps in (4, 5, 5):  # the last one was interrupted before its file was in place
        parts = load_file(adapters.train_adapter(studio, replace(PLAN, steps=steps), tmp_path, tmp_path / "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_second_style_differs_and_survives_the_vae(comfyui):
    """The second style must survive the VAE, or no UNet could learn it."""
    drawn = measure.held_out(16)
    field = scenes.distances(drawn)
    plain, rounded = scenes.paint(drawn, field), scenes.paint_rounded(drawn, field)
    cpu = torch.device("cpu")
    vae = stages.loaded_vae(checkpoint.read_parts(WEIGHTS / checkpoint.CHECKPOINT)[0], cpu)
    again = vae.taesd_decoder(vae.taesd_encoder(rounded)).movedim(1, -1)
    shown = (rounded - plain).abs().amax(dim=1) > 0.3
    missed, undone = ((again - each.movedim(1, -1)).abs()[shown].mean() for each in (rounded, plain))
    assert missed < undone / 3
    # The measures of plain scenes still tell.
    assert measure.silhouette_iou(rounded.movedim(1, -1), drawn).mean() > 0.9


def test_the_second_model_is_the_first_fine_tuned(comfyui, tmp_path):
    line = ["--weights", str(tmp_path), "--work", str(tmp_path / "work"), "--only", "second"]
    small = ["--scale", "0.001", "--batch", "2", "--device", "cpu"]
    train.main([*line, *small, "--comfyui", str(comfyui.path)])
    first, second = load_file(WEIGHTS / checkpoint.CHECKPOINT), load_file(tmp_path / checkpoint.SECOND)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first if name.startswith(checkpoint.VAE))
    assert any(not torch.equal(first[name], second[name]) for name in first if name.startswith(checkpoint.UNET))
