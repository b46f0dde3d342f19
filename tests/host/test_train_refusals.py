"""What Train T2I-Adapter refuses, its messages, and what a stopped run leaves."""

from __future__ import annotations

import errno

import pytest
import torch
from t2i_adapter_pack.adapter_models.errors import AdapterError, FamilyMismatchError
from t2i_adapter_pack.training.errors import CheckpointError, TrainingError

from . import tiny
from .lessons import create, equal, train

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("output")]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"images": [tiny.hint(64, 64, 2)]}, TrainingError, "got 2 condition images for 3 latents"),
        ({"images": [tiny.hint(64, 72, 3)]}, TrainingError, "72×64 pixels; expected 64×64"),
        ({"images": [tiny.hint(64, 64), tiny.hint(72, 64, 2)]}, TrainingError, "one size for all"),
        ({"images": [tiny.hint(64, 64, 3) * 255]}, AdapterError, "values in"),
        ({"images": [tiny.hint(64, 64, 3) * float("nan")]}, AdapterError, "NaN"),
        ({"images": []}, TrainingError, "images: got none"),
        ({"images": [tiny.hint(64, 64, 0)]}, TrainingError, "got no condition images"),
        ({"latents": [{"samples": torch.zeros(0, 4, 8, 8)}]}, TrainingError, "at least one latent"),
        ({"latents": []}, TrainingError, "latents: got none"),
        ({"latents": [{"samples": torch.full((3, 4, 8, 8), float("nan"))}]}, TrainingError, "NaN or infinite"),
        ({"latents": [{"samples": torch.zeros(1, 4, 8, n)} for n in (8, 8, 9)]}, TrainingError, "one size for all"),
        ({"latents": [{"samples": torch.zeros(3, 16, 8, 8)}]}, TrainingError, "pictures of 4 channels"),
        ({"positive": [tiny.conditioning(1) + tiny.conditioning(2)]}, TrainingError, "got 2 prompts for 3 latents"),
        ({"positive": [[]]}, TrainingError, "no prompts"),
        ({"positive": [tiny.conditioning(1, area=(8, 8, 0, 0))]}, TrainingError, "a prompt with area"),
        ({"run_name": "../up"}, CheckpointError, "run_name"),
        ({"run_name": ""}, CheckpointError, "run_name"),
        ({"run_name": "a/b"}, CheckpointError, "run_name"),
        ({"run_name": "a\\b"}, CheckpointError, "run_name"),
        ({"run_name": "/tmp/a"}, CheckpointError, "run_name"),
        ({"run_name": "C:a"}, CheckpointError, "run_name"),
        ({"prompt_dropout": 0.5}, TrainingError, "no empty prompt"),
        ({"learning_rate": float("nan")}, TrainingError, "learning_rate"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_trained(sd, monkeypatch, values, error, message):
    from t2i_adapter_pack.training.loop import Trainer

    monkeypatch.setattr(Trainer, "advance", lambda self: pytest.fail("trained"))
    with pytest.raises(error, match=message):
        train(sd, create(sd), **values)


def test_adapters_of_another_family_and_models_with_adapters_are_refused(sd, sdxl):
    with pytest.raises(FamilyMismatchError):
        train(sdxl, create(sd))
    applied = tiny.apply(sd, tiny.adapter(tiny.adapter_config()), tiny.hint(64, 64))
    with pytest.raises(TrainingError, match="a MODEL with adapters applied"):
        train(applied, create(sd))


def test_models_on_another_schedule_are_refused(inside_comfyui):
    import comfy.model_base

    for kind in ("EDM", "V_PREDICTION_EDM", "FLOW"):
        model = tiny.model("SD")
        config = model.model.model_config
        model.model.model_sampling = comfy.model_base.model_sampling(config, comfy.model_base.ModelType[kind])
        with pytest.raises(TrainingError, match="on Stable Diffusion's schedule"):
            train(model, create(model))


def test_a_loss_of_nan_keeps_the_last_checkpoint(sd, output, monkeypatch):
    from t2i_adapter_pack.training import loop

    real, calls = loop.adapter_loss, []

    def bad(*args):
        calls.append(1)
        return real(*args) * (float("nan") if len(calls) == 4 else 1)

    adapter = create(sd)
    whole = train(sd, adapter, run_name="whole")[0]
    monkeypatch.setattr(loop, "adapter_loss", bad)
    with pytest.raises(TrainingError, match="step 4: got a loss of nan"):
        train(sd, adapter, save_every=2)
    monkeypatch.setattr(loop, "adapter_loss", real)
    assert equal(train(sd, adapter)[0], whole)


def test_a_folder_that_can_not_be_written_to_is_told_before_the_first_step(sd, output, monkeypatch):
    from t2i_adapter_pack.training.loop import Trainer

    monkeypatch.setattr(Trainer, "advance", lambda self: pytest.fail("trained"))
    (output / "t2i_adapters").write_text("a file in the folder's place")
    with pytest.raises(CheckpointError, match="a place to write to"):
        train(sd, create(sd))


def full_at(monkeypatch, name, number):
    """Let writing a run's last files fail, as on a full or read-only disk."""
    from t2i_adapter_pack.training import checkpoints

    opened = checkpoints.Path.open

    def refuse(path, mode="r", *args, **kwargs):
        if name in path.name and "x" in mode:
            raise OSError(number, "refused by the test")
        return opened(path, mode, *args, **kwargs)

    monkeypatch.setattr(checkpoints.Path, "open", refuse)


def test_a_read_only_folder_is_told_before_the_first_step(sd, monkeypatch):
    from t2i_adapter_pack.training.loop import Trainer

    monkeypatch.setattr(Trainer, "advance", lambda self: pytest.fail("trained"))
    full_at(monkeypatch, "settings.json", errno.EROFS)
    with pytest.raises(CheckpointError, match="got a folder that is read-only"):
        train(sd, create(sd))


@pytest.mark.parametrize("file", ["training_state.pt", "run_step_00000004"])
def test_a_disk_that_fills_up_keeps_the_last_checkpoint(sd, output, monkeypatch, file):
    adapter = create(sd)
    whole = train(sd, adapter, run_name="whole")[0]
    train(sd, adapter, steps=2, save_every=2)
    with monkeypatch.context() as patched:
        full_at(patched, file, errno.ENOSPC)
        with pytest.raises(CheckpointError, match="got no space left on the disk"):
            train(sd, adapter, save_every=2)
    files = {path.name for path in (output / "t2i_adapters" / "run").iterdir()}
    assert files == {"run_step_00000002.safetensors", "settings.json", "log.jsonl", "training_state.pt"}
    assert equal(train(sd, adapter, save_every=2)[0], whole)


def test_a_damaged_checkpoint_is_told(sd, output):
    adapter = create(sd)
    train(sd, adapter, steps=2)
    state = output / "t2i_adapters" / "run" / "training_state.pt"
    state.write_bytes(state.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match="a damaged file"):
        train(sd, adapter)
