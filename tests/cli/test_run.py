"""The command from pictures to an adapter in the real ComfyUI: what it writes, resumes and refuses."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from t2i_adapter_pack.adapter_models.loading import load_adapter_file
from t2i_adapter_pack.training.checkpoints import load_state

from ..training import datasets

pytestmark = pytest.mark.host


def state(tmp_path: Path, name: str = "run"):
    return load_state(tmp_path / "runs" / name)


def same_state(first, second) -> bool:
    """Bit for bit: losses, weights, and the optimiser's memory."""
    moments = [one["optimiser"]["state"] for one in (first, second)]
    return (
        first["losses"] == second["losses"]
        and all(torch.equal(weight, second["network"][name]) for name, weight in first["network"].items())
        and all(torch.equal(one["exp_avg_sq"], moments[1][at]["exp_avg_sq"]) for at, one in moments[0].items())
    )


def test_from_pictures_to_an_adapter_that_the_loader_takes(command, tmp_path, comfyui):
    assert command(save_every=3) == 0
    folder = tmp_path / "runs" / "run"
    assert {path.name for path in folder.iterdir()} == {
        "options.json", "settings.toml", "skipped.txt", "log.jsonl", "training_state.pt", "run.safetensors",
        "run_step_00000003.safetensors", "run_step_00000004.safetensors",
    }  # fmt: skip
    assert (folder / "skipped.txt").read_text() == ""
    losses = state(tmp_path)["losses"]
    assert len(losses) == 4
    assert all(0 < loss < 10 for loss in losses)

    from t2i_adapter_pack.nodes.load import LoadT2IAdapter

    shutil.copy(folder / "run.safetensors", comfyui.base / "models" / "controlnet" / "by_command.safetensors")
    adapter = LoadT2IAdapter.execute("by_command.safetensors")[0]
    assert adapter.info.condition.name == "canny"
    facts = json.loads(adapter.info.metadata["t2i_adapter.training"])
    assert (facts["steps"], facts["batch_size"], facts["seed"]) == (4, 2, 3)
    trained = state(tmp_path)["network"]
    assert all(torch.equal(weight, trained[name]) for name, weight in adapter.network.state_dict().items())


@pytest.mark.slow
def test_shards_train_as_folders_do_and_an_adapter_is_trained_further(command, tmp_path):
    path = datasets.shard(tmp_path / "s-00.tar", datasets.members())
    assert command() == command(data=tmp_path / "s-{00..00}.tar", name="shard") == 0
    assert same_state(state(tmp_path), state(tmp_path, "shard"))
    path.unlink()
    first = tmp_path / "runs" / "run" / "run.safetensors"
    assert command(adapter=first, name="further", format="diffusers", size=None, dtype="fp16") == 1
    assert command(adapter=first, name="further", size=None, dtype="fp16") == 0
    network, info = load_adapter_file(tmp_path / "runs" / "further" / "further.safetensors")
    assert info.dtype == "float16"
    assert info.condition.name == "canny"
    assert any(
        not torch.equal(weight.float(), load_adapter_file(first)[0].state_dict()[name])
        for name, weight in network.state_dict().items()
    )


def test_a_new_adapter_begins_with_another_ones_weights(command, tmp_path):
    assert command() == 0
    first = tmp_path / "runs" / "run" / "run.safetensors"
    begin = {"start_from": first, "name": "begun", "image_channels": 1, "learning_rate": 1e-9, "steps": 1}
    assert command(condition="sketch", annotator="clean-sketch", **begin) == 0
    begun, info = load_adapter_file(tmp_path / "runs" / "begun" / "begun.safetensors")
    assert info.condition.name == "sketch"
    assert begun.config.image_channels == 1
    before = load_adapter_file(first)[0].state_dict()
    same = [torch.allclose(weight, before[name], atol=1e-6) for name, weight in begun.state_dict().items()
            if weight.shape == before[name].shape]  # fmt: skip
    assert all(same)
    assert len(same) == len(before) - 1


def test_diffusers_folders_are_written(command, tmp_path):
    assert command(size="base", format="diffusers", steps=1) == 0
    folder = tmp_path / "runs" / "run" / "run"
    assert load_adapter_file(folder)[1].layout == "diffusers"


def test_ctrl_c_saves_and_the_same_command_goes_on_bit_for_bit(command, tmp_path, monkeypatch, caplog):
    from t2i_adapter_pack.training.loop import Trainer

    assert command(name="whole", steps=5) == 0
    advance = Trainer.advance

    def interrupted(self):
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return advance(self)

    monkeypatch.setattr(Trainer, "advance", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    assert command(steps=5) == 130
    assert signal.getsignal(signal.SIGINT) is handler
    assert "stopped after step 3" in caplog.text
    assert len(state(tmp_path)["losses"]) == 3
    load_adapter_file(tmp_path / "runs" / "run" / "run_step_00000003.safetensors")
    monkeypatch.undo()
    (tmp_path / "runs" / "run" / ".half.part").write_bytes(b"of a run that was killed")
    assert command(steps=5) == 0
    assert "Resuming after step 3." in caplog.text  # from the start it would give the same state
    assert same_state(state(tmp_path), state(tmp_path, "whole"))
    assert not list((tmp_path / "runs").rglob(".*.part"))


def test_a_loss_of_nan_stops_with_its_step_and_keeps_the_last_checkpoint(command, tmp_path, monkeypatch, caplog):
    from t2i_adapter_pack.training import loop

    real, calls = loop.adapter_loss, []

    def bad(*arguments):
        calls.append(1)
        return real(*arguments) * (float("nan") if len(calls) == 4 else 1)

    monkeypatch.setattr(loop, "adapter_loss", bad)
    assert command(save_every=2) == 1
    assert "step 4: got a loss of nan" in caplog.text
    assert len(state(tmp_path)["losses"]) == 2
    monkeypatch.setattr(loop, "adapter_loss", real)
    assert command(save_every=2) == command(name="whole") == 0
    assert same_state(state(tmp_path), state(tmp_path, "whole"))


def test_what_is_left_out_is_counted_and_named(command, pictures, tmp_path, caplog):
    (pictures / "000.txt").unlink()
    (pictures / "001.png").write_bytes((pictures / "001.png").read_bytes()[:300])
    (pictures / "alone.txt").write_text("no picture")
    assert command(steps=1) == 0
    assert "3 left out" in caplog.text
    lines = (tmp_path / "runs" / "run" / "skipped.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in sorted(lines)] == ["000", "001", "alone"]


def test_the_weights_of_an_annotator_may_be_named(command, tmp_path):
    from ..host import published

    (tmp_path / "weights").mkdir()
    files = published.save_lines(tmp_path / "weights")
    file = files["table5_pidinet.pth"]
    named = file.rename(file.with_name("lines.pth"))
    assert command(condition="sketch", annotator_file=named, steps=1) == 0
    assert command(condition="sketch", annotator="clean-sketch", steps=1, name="other") == 0
    digests = {load_state(tmp_path / "runs" / name)["origin"]["data"] for name in ("run", "other")}
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../up"}, "--name: got '../up'"),
        ({"name": "a/b"}, "--name: got 'a/b'"),
        ({"resolution": 100}, "--resolution: got 100; expected a multiple of 64"),
        ({"steps": 0}, "--steps: got 0"),
        ({"data": "nowhere"}, "--data, nowhere: got nothing there"),
        ({"checkpoint": "nothing.safetensors"}, "--checkpoint: got 'nothing.safetensors', which is no file"),
        ({"adapter": "nothing.pth"}, "--adapter: got nothing.pth, which is no file"),
        ({"start_from": "nothing.pth"}, "--start-from: got nothing.pth, which is no file"),
        (
            {"start_from": "nothing.pth", "adapter": "nothing.pth"},
            "--start-from: got two adapters",
        ),
        ({"annotator_file": "nothing.pth"}, "--annotator-file: got nothing.pth, which is no file"),
        ({"condition": None}, "--condition: got pictures without a condition map"),
        ({"condition": "sketch"}, "table5_pidinet.pth"),
        ({"format": "diffusers"}, "a shape that diffusers does not have"),
        ({"comfyui": "nowhere"}, "--comfyui: got"),
        ({"learning_rate": "nan"}, "--learning-rate: got nan"),
    ],
    ids=str,
)
def test_bad_input_is_told_before_anything_is_trained(command, monkeypatch, caplog, changes, message):
    from t2i_adapter_pack.training.loop import Trainer

    monkeypatch.setenv("HF_HOME", "/nowhere")
    monkeypatch.setattr(Trainer, "advance", lambda self: pytest.fail("trained"))
    assert command(**changes) == 1
    assert message in caplog.text
    assert "Traceback" not in caplog.text


def test_empty_data_sets_other_families_and_files_in_the_way_are_told(command, tmp_path, monkeypatch, caplog):
    from t2i_adapter_pack.training.loop import Trainer

    monkeypatch.setattr(Trainer, "advance", lambda self: pytest.fail("trained"))
    (tmp_path / "empty").mkdir()
    assert command(data=tmp_path / "empty") == 1
    assert "--data: got no sample that can be used" in caplog.text
    (tmp_path / "rubbish.safetensors").write_bytes(b"rubbish" * 100)
    assert command(checkpoint=tmp_path / "rubbish.safetensors") == 1
    assert "a file that can't be loaded" in caplog.text
    assert command(adapter=Path(__file__)) == 1
    (tmp_path / "file").write_text("in the way")
    assert command(output=tmp_path / "file") == 1
    assert "a place to write to" in caplog.text


def test_another_run_of_the_same_name_is_refused(command, caplog):
    assert command(steps=1) == 0
    assert command(steps=2, seed=4) == 1
    assert "a run that began differently; now adapter" in caplog.text or "seed 4" in caplog.text


def test_a_run_that_another_process_trains_is_refused_at_once(command, tmp_path, monkeypatch, caplog):
    from t2i_adapter_pack.cli import run
    from t2i_adapter_pack.training.locks import RunLock

    monkeypatch.setattr(run, "read_checkpoint", lambda name: pytest.fail("loaded the checkpoint"))
    lock = RunLock(tmp_path / "runs" / "run")
    lock.acquire()
    assert command() == 1
    assert "Another process is training this run." in caplog.text
    assert "choose another --name" in caplog.text
    lock.release()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 4}, "seed 4"),
        ({"size": "small"}, "another adapter"),
        ({"resolution": 192}, "other examples"),
        ({"data": "fewer"}, "other examples"),
    ],
    ids=str,
)
def test_a_refused_command_leaves_the_run_as_it_was(command, pictures, tmp_path, caplog, changes, message):
    assert command(steps=1) == 0
    before = contents(tmp_path / "runs" / "run")
    if changes == {"data": "fewer"}:
        changes = {"data": datasets.folder(tmp_path / "fewer", datasets.members(3))}
    assert command(steps=2, **changes) == 1
    assert message in caplog.text
    assert "The run of this name began with another " in caplog.text
    assert contents(tmp_path / "runs" / "run") == before
    assert command(steps=2) == 0
