"""Optimizers and learning rates: what each step uses, resuming bit for bit, and what is refused."""

from __future__ import annotations

import copy
import io
import math
import sys
import types

import pytest
import torch
from t2i_adapter_pack.training.errors import CheckpointError, TrainingError
from t2i_adapter_pack.training.loop import fit
from t2i_adapter_pack.training.optimizers import OPTIMIZERS, optimizer_class, optimizer_named

from . import samples


class FakeProdigy(torch.optim.Optimizer):
    """Remembers in its group, as the real one does: how long its steps are."""

    def __init__(self, params, lr, weight_decay, use_bias_correction, safeguard_warmup):
        super().__init__(params, {"lr": lr, "d": 1e-4, "d_max": 1e-4, "d_numerator": 0.0, "k": 0})

    @torch.no_grad()
    def step(self, closure=None):
        group = self.param_groups[0]
        for weight in group["params"]:
            memory = self.state.setdefault(weight, {"step": 0, "s": torch.zeros_like(weight).flatten()})
            memory["step"] += 1
            memory["s"] += weight.grad.flatten()
            weight.sub_(group["lr"] * group["d"] * memory["s"].view_as(weight).sign())
        group["d"] *= 1.5
        group["k"] += 1


@pytest.fixture
def prodigy(monkeypatch):
    module = types.ModuleType("prodigyopt")
    module.Prodigy = FakeProdigy
    monkeypatch.setitem(sys.modules, "prodigyopt", module)


def rates(**settings):
    one, found = samples.trainer(**settings), []
    fit(one, lambda: None, on_step=lambda step, loss: found.append(one.learning_rate))
    return found


@pytest.mark.parametrize(
    ("settings", "factors"),
    [
        ({}, [1] * 6),
        ({"lr_warmup_steps": 3}, [0.25, 0.5, 0.75, 1, 1, 1]),
        ({"lr_scheduler": "linear"}, [1 - step / 6 for step in range(6)]),
        ({"lr_scheduler": "cosine"}, [(1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)]),
        ({"lr_scheduler": "linear", "lr_warmup_steps": 2}, [1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25]),
    ],
    ids=str,
)
def test_the_learning_rate_follows_its_schedule(settings, factors):
    assert rates(**settings) == pytest.approx([factor * 1e-2 for factor in factors])


def stopped(state_of, after):
    """The state of a run that was stopped, as a checkpoint returns it."""

    def stop(step, loss):
        if step == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(state_of, lambda: None, on_step=stop)
    file = io.BytesIO()
    torch.save(state_of.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"lr_scheduler": "cosine"},
        {"lr_scheduler": "linear", "lr_warmup_steps": 3},
        {"lr_warmup_steps": 3},
        {"optimizer": "adafactor", "lr_scheduler": "cosine", "ema": 0.9},
        {"optimizer": "prodigy", "learning_rate": 1.0},
    ],
    ids=str,
)
@pytest.mark.usefixtures("prodigy")
def test_a_run_resumes_bit_for_bit(settings):
    whole = samples.trainer(**settings)
    fit(whole, lambda: None)
    resumed = samples.trainer(**settings)
    resumed.load_state_dict(stopped(samples.trainer(**settings), 4))
    fit(resumed, lambda: None)
    assert resumed.losses == whole.losses
    assert resumed.learning_rate == whole.learning_rate
    assert resumed.fingerprint() == whole.fingerprint()


def test_a_trainer_that_has_made_steps_takes_another_state_whole():
    settings = {"lr_scheduler": "cosine", "lr_warmup_steps": 2}
    state, used = stopped(samples.trainer(**settings), 2), samples.trainer(**settings)
    fit(used, lambda: None)
    used.load_state_dict(state)
    fit(used, lambda: None)
    whole = samples.trainer(**settings)
    fit(whole, lambda: None)
    assert used.fingerprint() == whole.fingerprint()


def test_a_run_whose_rate_falls_to_its_end_keeps_its_length():
    state = stopped(samples.trainer(lr_scheduler="cosine"), 2)
    with pytest.raises(CheckpointError, match="began with another number of steps") as caught:
        samples.trainer(lr_scheduler="cosine", steps=9).load_state_dict(state)
    assert "now steps 9; expected steps 6" in str(caught.value)


def test_a_run_of_an_older_version_has_a_constant_rate():
    state = stopped(samples.trainer(), 2)
    for name in ("lr_scheduler", "lr_warmup_steps", "optimizer"):
        del state["origin"][name]
    samples.trainer().load_state_dict(state)
    with pytest.raises(CheckpointError, match="now lr_warmup_steps 2; expected lr_warmup_steps 0"):
        samples.trainer(lr_warmup_steps=2).load_state_dict(state)


def test_a_warm_up_of_the_whole_run_is_refused():
    with pytest.raises(TrainingError, match="lr_warmup_steps: got 6 of 6 steps; expected fewer"):
        samples.trainer(lr_warmup_steps=6)


@pytest.mark.parametrize("name", ["adamw8bit", "prodigy"])
def test_a_missing_package_is_told_with_its_name(monkeypatch, name):
    kind = optimizer_named(name)
    monkeypatch.setitem(sys.modules, kind.module.partition(".")[0], None)
    with pytest.raises(TrainingError, match=f"needs the package {kind.package}") as caught:
        optimizer_class(kind)
    assert f'pip install "{kind.package}"' in caught.value.fix


def test_a_torch_without_an_optimizer_is_told(monkeypatch):
    monkeypatch.delattr(torch.optim, "Adafactor")
    with pytest.raises(TrainingError, match="needs the package torch"):
        optimizer_class(optimizer_named("adafactor"))


DAMAGE = {
    "no memory of a weight": lambda s: s["optimiser"]["state"].pop(0),
    "other names": lambda s: s["optimiser"]["state"][0].pop("step"),
    "another shape": lambda s: s["optimiser"]["state"][0].update(s=torch.zeros(3)),
    "another type": lambda s: s["optimiser"]["state"][0].update(step=1.0),
    "NaN": lambda s: s["optimiser"]["state"][0]["s"].fill_(math.nan),
    "no group": lambda s: s["optimiser"].pop("param_groups"),
    "an infinite group": lambda s: s["optimiser"]["param_groups"][0].update(d=math.inf),
    "a group with text": lambda s: s["optimiser"]["param_groups"][0].update(k="4"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.usefixtures("prodigy")
def test_a_damaged_memory_is_refused(damage):
    settings = {"optimizer": "prodigy", "learning_rate": 1.0}
    state = copy.deepcopy(stopped(samples.trainer(**settings), 2))
    DAMAGE[damage](state)
    with pytest.raises(CheckpointError, match="a state in which the optimiser's memory"):
        samples.trainer(**settings).load_state_dict(state)


def test_each_optimizer_has_one_row():
    assert [row.name for row in OPTIMIZERS] == ["adamw", "adamw8bit", "prodigy", "adafactor"]


def test_the_file_of_an_adapter_records_only_later_settings_that_were_changed():
    assert {"lr_scheduler", "optimizer", "lr_warmup_steps"}.isdisjoint(samples.settings().record)
    assert samples.settings(optimizer="adafactor").record["optimizer"] == "adafactor"
