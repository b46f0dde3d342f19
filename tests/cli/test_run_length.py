"""How long a run is, what it keeps on the disk, and what it compares before any work."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from .test_run import state

pytestmark = pytest.mark.host


def test_epochs_count_the_examples_that_can_be_used(command, pictures, tmp_path, caplog):
    (pictures / "002.txt").unlink()
    assert command(steps=None, epochs=1.5) == 0
    assert "1 epoch = 2 steps; 3 steps = 1.5 epochs." in caplog.text
    assert len(state(tmp_path)["losses"]) == 3
    # A finished run can be lengthened in epochs too.
    assert command(steps=None, epochs=2) == 0
    assert len(state(tmp_path)["losses"]) == 4


def test_epochs_may_end_a_schedule(command, pictures, tmp_path):
    (pictures / "002.txt").unlink()
    assert command(steps=None, epochs=1.5, lr_scheduler="cosine") == 0
    assert command(steps=None, epochs=1.5, lr_scheduler="cosine") == 0
    assert command(steps=None, epochs=2, lr_scheduler="cosine") == 1
    assert command(steps=3, lr_scheduler="cosine") == 0
    assert state(tmp_path)["origin"]["steps"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2}, "--epochs: got --steps too"),
        ({"epochs": 0, "steps": None}, "--epochs: got 0.0; expected a number above 0"),
        ({"epochs": "nan", "steps": None}, "--epochs: got nan"),
        ({"lr_warmup_steps": 4}, "--lr-warmup-steps: got 4 of 4 steps"),
    ],
    ids=str,
)
def test_lengths_that_can_not_be_are_refused(command, caplog, changes, message):
    assert command(**changes) == 1
    assert message in caplog.text


def test_the_newest_checkpoints_are_kept(command, tmp_path, caplog):
    assert command(save_every=1, keep_checkpoints=2) == 0
    folder = tmp_path / "runs" / "run"
    kept = sorted(path.name for path in folder.glob("*.safetensors"))
    assert kept == ["run.safetensors", "run_step_00000003.safetensors", "run_step_00000004.safetensors"]
    assert "Checkpoints need up to " in caplog.text
    # Three adapters at a time and the finished one; the state, old and new.
    size = (folder / kept[0]).stat().st_size
    needed = 4 * size + 2 * (folder / "training_state.pt").stat().st_size
    line = next(record.message for record in caplog.records if "Checkpoints need" in record.message)
    assert needed < float(line.split()[4]) * 1e6 < 1.2 * needed


def test_too_little_space_is_told_before_anything_is_encoded(command, tmp_path, monkeypatch, caplog):
    from t2i_adapter_pack.training import disk

    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    assert command(save_every=1, keep_checkpoints=1) == 1
    assert "The disk has too little space for the checkpoints of this run." in caplog.text
    assert "got 1.0 MB left on the disk" in caplog.text
    assert "--keep-checkpoints" in caplog.text
    assert not (tmp_path / "runs" / "run" / "cache").exists()


def test_another_checkpoint_is_refused_before_anything_is_encoded(command, miniature, tmp_path, monkeypatch, caplog):
    from t2i_adapter_pack.cli import run

    other = tmp_path / "other.safetensors"
    weights = load_file(miniature)
    name = next(name for name in weights if name.startswith("model.diffusion_model.") and weights[name].ndim > 1)
    save_file({**weights, name: weights[name] + 1}, other)
    shutil.copy(miniature, tmp_path / "copy.safetensors")
    assert command(steps=1) == 0
    assert command(steps=2, checkpoint=tmp_path / "copy.safetensors") == 0
    monkeypatch.setattr(run, "prepare_examples", lambda *_: pytest.fail("encoded"))
    assert command(steps=3, checkpoint=other) == 1
    assert "The run of this name began with another diffusion model." in caplog.text
