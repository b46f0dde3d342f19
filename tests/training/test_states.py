"""What a file may hold in the place of a run's state: one clear error each, and nothing of it is taken."""

from __future__ import annotations

import copy
import math
import os

import pytest
import torch
from t2i_adapter_pack.training.checkpoints import STATE_FILE, load_state, save_state
from t2i_adapter_pack.training.errors import CheckpointError
from t2i_adapter_pack.training.states import STATE_VERSION

from ..adapter_models.samples import with_instructions
from . import samples


@pytest.fixture(scope="module")
def trained():
    trainer = samples.trainer(ema=0.9)
    trainer.advance()
    trainer.advance()
    return trainer.state_dict()


def first(state):
    return next(iter(state["network"]))


NAN, INF = math.nan, math.inf
CHANGES = {
    "no version": lambda s: s.pop("version"),
    "version of text": lambda s: s.update(version="1"),
    "version of tensors": lambda s: s.update(version=torch.ones(3)),
    "no origin": lambda s: s.pop("origin"),
    "origin as a list": lambda s: s.update(origin=["a"]),
    "origin with tensors": lambda s: s["origin"].update(seed=torch.ones(2)),
    "origin with numbers as names": lambda s: s["origin"].update({3: 4}),
    "no network": lambda s: s.pop("network"),
    "network as a list": lambda s: s.update(network=[1]),
    "a weight less": lambda s: s["network"].pop(first(s)),
    "a weight more": lambda s: s["network"].update(more=torch.ones(1)),
    "a weight as a list": lambda s: s["network"].update({first(s): [1.0]}),
    "a weight of integers": lambda s: s["network"].update({first(s): s["network"][first(s)].long()}),
    "a weight of halves": lambda s: s["network"].update({first(s): s["network"][first(s)].half()}),
    "a weight of another shape": lambda s: s["network"].update({first(s): torch.ones(2, 2)}),
    "a sparse weight": lambda s: s["network"].update({first(s): s["network"][first(s)].to_sparse()}),
    "a NaN weight": lambda s: s["network"].update({first(s): s["network"][first(s)] * NAN}),
    "an infinite weight": lambda s: s["network"].update({first(s): torch.full_like(s["network"][first(s)], INF)}),
    "no average": lambda s: s.update(average=[]),
    "a NaN average": lambda s: s["average"].__setitem__(0, s["average"][0] * NAN),
    "an average of text": lambda s: s["average"].__setitem__(0, "a"),
    "no optimiser": lambda s: s.pop("optimiser"),
    "optimiser as a list": lambda s: s.update(optimiser=[]),
    "optimiser without state": lambda s: s["optimiser"].pop("state"),
    "optimiser with state as a list": lambda s: s["optimiser"].update(state=[1]),
    "optimiser of fewer weights": lambda s: s["optimiser"]["state"].pop(0),
    "optimiser with other names": lambda s: s["optimiser"].update(state={"a": 1}),
    "optimiser without moments": lambda s: s["optimiser"]["state"][0].pop("exp_avg"),
    "optimiser with more": lambda s: s["optimiser"]["state"][0].update(max_exp_avg_sq=torch.ones(1)),
    "optimiser with a list": lambda s: s["optimiser"]["state"].update({0: [1]}),
    "a step of text": lambda s: s["optimiser"]["state"][0].update(step="2"),
    "a NaN step": lambda s: s["optimiser"]["state"][0].update(step=torch.tensor(NAN)),
    "a step below 0": lambda s: s["optimiser"]["state"][0].update(step=torch.tensor(-3.0)),
    "a step for each weight": lambda s: s["optimiser"]["state"][0].update(step=torch.ones(3)),
    "a moment of another shape": lambda s: s["optimiser"]["state"][0].update(exp_avg=torch.ones(1)),
    "a square below 0": lambda s: s["optimiser"]["state"][0]["exp_avg_sq"].fill_(-1),
    "no losses": lambda s: s.pop("losses"),
    "losses as a dict": lambda s: s.update(losses={0: 1.0}),
    "losses as a tensor": lambda s: s.update(losses=torch.ones(3)),
    "a NaN loss": lambda s: s.update(losses=[0.5, NAN]),
    "an infinite loss": lambda s: s.update(losses=[0.5, INF]),
    "losses of integers": lambda s: s.update(losses=[1, 2]),
    "losses of text": lambda s: s.update(losses=["0.5"]),
    "losses of nothing": lambda s: s.update(losses=[None]),
    "no scaler": lambda s: s.pop("scaler"),
    "scaler as a list": lambda s: s.update(scaler=[]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_state_with_a_wrong_part_is_one_clear_error(trained, tmp_path, change):
    state = copy.deepcopy(trained)
    CHANGES[change](state)
    save_state(tmp_path, state)
    trainer = samples.trainer(ema=0.9)
    before = copy.deepcopy(trainer.state_dict())
    with pytest.raises(CheckpointError, match=r": got .+; expected .+\. .+") as caught:
        trainer.load_state_dict(load_state(tmp_path))
    assert len(str(caught.value)) < 600
    after = trainer.state_dict()
    assert after["losses"] == before["losses"] == []
    assert all(torch.equal(weight, before["network"][name]) for name, weight in after["network"].items())
    assert after["optimiser"]["state"] == {}


@pytest.mark.parametrize("content", [None, [], [1, 2], {}, {"step": 1}, "text", 3, torch.ones(3), ({},)], ids=str)
def test_what_is_no_state_at_all_is_one_clear_error(tmp_path, content):
    torch.save(content, tmp_path / STATE_FILE)
    with pytest.raises(CheckpointError, match=r": got .+; expected the state of a run"):
        samples.trainer().load_state_dict(load_state(tmp_path))


@pytest.mark.parametrize("data", [b"", b"rubbish", b"PK\x03\x04" + b"\0" * 100, b"\x80\x02]q\0.", b"\x80\x04N."])
def test_files_of_any_bytes_are_one_clear_error(tmp_path, data):
    (tmp_path / STATE_FILE).write_bytes(data)
    with pytest.raises(CheckpointError, match=r"got .+; expected the state of a run"):
        load_state(tmp_path)


@pytest.mark.parametrize("new", [True, False])
def test_a_state_that_would_never_be_read_to_its_end_is_one_clear_error(tmp_path, new):
    torch.save({"mark": 0}, tmp_path / STATE_FILE, _use_new_zipfile_serialization=new)
    # A tuple with 2^40 ways through as a key.
    with_instructions(tmp_path / STATE_FILE, b")" + b"q\xc8h\xc8\x86" * 40 + b"K\x00")
    with pytest.raises(CheckpointError, match=r"got a damaged file \(tuples nested too deep\)"):
        load_state(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nothing"])
def test_what_lies_in_the_states_place_is_not_taken_for_no_state(tmp_path, kind):
    path = tmp_path / STATE_FILE
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="expected the state of a run"):
        load_state(tmp_path)


def test_a_state_of_another_version_is_told(trained):
    with pytest.raises(CheckpointError, match=f"got version {STATE_VERSION + 1}; expected version {STATE_VERSION}"):
        samples.trainer(ema=0.9).load_state_dict({**trained, "version": STATE_VERSION + 1})


@pytest.mark.parametrize("scaler", [{}, {"scale": 2.0}, {"scale": NAN, "_growth_tracker": 0},
                                    {"scale": 0.0, "_growth_tracker": 0}, {"scale": "8", "_growth_tracker": 0},
                                    {"scale": 8.0, "_growth_tracker": -1}])  # fmt: skip
def test_a_scale_that_is_none_is_told(scaler):
    unet = samples.denoiser(half=True)
    trainer = samples.trainer(unet=unet)
    state = {**trainer.state_dict(), "scaler": scaler}
    with pytest.raises(CheckpointError, match="the scale of the loss is missing or no number above 0"):
        samples.trainer(unet=unet).load_state_dict(state)


def test_a_sound_state_with_a_scale_is_taken():
    unet = samples.denoiser(half=True)
    one, two = samples.trainer(unet=unet), samples.trainer(unet=unet)
    for _ in range(2):
        one.advance()
    two.load_state_dict(one.state_dict())
    assert two.scaler.state_dict() == one.scaler.state_dict()
    assert two.advance() == one.advance()


def test_how_the_optimiser_steps_is_not_taken_from_a_file(trained):
    state = copy.deepcopy(trained)
    state["optimiser"]["param_groups"] = [{"lr": NAN, "params": ["a"]}]
    trainer = samples.trainer(ema=0.9)
    trainer.load_state_dict(state)
    plain = samples.trainer(ema=0.9)
    plain.load_state_dict(trained)
    assert trainer.advance() == plain.advance()
    assert trainer.advance() == plain.advance()


@pytest.mark.parametrize("left", ["run_step_00000500.safetensors", "run.safetensors", "run/config.json"])
def test_a_lost_state_is_told_instead_of_beginning_anew_over_the_adapter(tmp_path, left):
    folder = tmp_path / "run"
    (folder / left).parent.mkdir(parents=True)
    (folder / left).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no such file beside run.*an adapter that a run has left.*Put it back"):
        load_state(folder)


def test_other_files_in_a_folder_are_no_run(tmp_path):
    for name in ("settings.json", "other.safetensors", "skipped.txt"):
        (tmp_path / name).write_bytes(b"")
    assert load_state(tmp_path) is None
