"""Several processes: together they make the steps of one with their batches in one; else they say what is missing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from t2i_adapter_pack.training.distributed import ALONE, Processes, join
from t2i_adapter_pack.training.errors import TrainingError
from t2i_adapter_pack.training.loop import Trainer, fit

from . import samples


def trainer(processes=ALONE, **settings):
    values = {"batch_size": 4, "gradient_accumulation": 2, "prompt_dropout": 0.3, "condition_dropout": 0.2, **settings}
    device = torch.device("cpu")
    data = samples.examples(6)
    return Trainer(samples.adapter(), data, samples.denoiser(), samples.settings(**values), device, processes)


class Exchange:
    """Means over threads, in the place of processes."""

    def __init__(self, count):
        self.barrier, self.given = threading.Barrier(count, timeout=60), {}

    def mean(self, index, tensors):
        self.given[index] = tensors
        self.barrier.wait()
        means = [torch.stack(each).mean(0) for each in zip(*(self.given[i] for i in sorted(self.given)), strict=True)]
        self.barrier.wait()
        return means


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9}], ids=str)
def test_two_make_the_steps_of_one_with_twice_the_batch(settings):
    alone = trainer(**settings)
    fit(alone, lambda: None)
    exchange = Exchange(2)
    together = [
        trainer(Processes(index, 2, lambda tensors, index=index: exchange.mean(index, tensors)), **settings)
        for index in range(2)
    ]
    threads = [threading.Thread(target=fit, args=(one, lambda: None)) for one in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together[0].losses == together[1].losses
    assert together[0].losses == pytest.approx(alone.losses, abs=1e-4)
    for name, weight in together[0].weights().items():
        assert torch.equal(weight, together[1].weights()[name])
        torch.testing.assert_close(weight, alone.weights()[name], rtol=1e-3, atol=5e-4)
    # Either may go on where the others stopped.
    trainer(**{**settings, "steps": 9}).load_state_dict(together[0].state_dict())


def test_two_processes_of_accelerate_make_the_steps_of_one(tmp_path):
    """Over gloo, started as launchers do it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    common = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    words = [sys.executable, str(Path(__file__).with_name("share.py")), str(tmp_path / "losses.json")]
    ranks = [{**common, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"} for rank in "01"]
    processes = [subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True) for environ in ranks]
    told = [process.communicate(timeout=280)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    together = json.loads((tmp_path / "losses.json").read_text())
    alone = trainer(prompt_dropout=0.3, condition_dropout=0.0)
    fit(alone, lambda: None)
    assert together["count"] == 2
    assert together["losses"] == pytest.approx(alone.losses, abs=1e-4)


def test_a_batch_that_can_not_be_shared_is_refused():
    with pytest.raises(TrainingError, match="batch_size: got 4 for 3 processes"):
        trainer(Processes(0, 3))


def test_one_process_needs_no_accelerate(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert join(True, {}) is ALONE
    assert join(True, {"WORLD_SIZE": "1"}) is ALONE


@pytest.mark.parametrize("name", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_several_without_accelerate_are_told_of_the_extra(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(TrainingError, match=r"got 2 processes, .*extra 'train'.*pip install accelerate"):
        join(True, {name: "2"})


def test_a_launcher_that_starts_too_few_is_told():
    """`accelerate launch --cpu --num_processes 2` starts one process and says nothing."""
    with pytest.raises(TrainingError, match="--multi_gpu instead of --cpu"):
        join(True, {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"})


def test_something_is_so_in_any_process():
    assert ALONE.any(True, torch.device("cpu"))
    assert not ALONE.any(False, torch.device("cpu"))
    other = Processes(0, 2, lambda tensors: [(tensor + 1) / 2 for tensor in tensors])
    assert other.any(False, torch.device("cpu"))
