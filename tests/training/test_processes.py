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
from t2i_adapter_pack.training.collectives import mean_in_pieces, pieces
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


def two_processes(*words, script="share.py"):
    """Two processes of a script, started as launchers do it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    common = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, str(Path(__file__).with_name(script)), *words]
    ranks = [{**common, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"} for rank in "01"]
    return [subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) for environ in ranks]


def test_two_processes_of_accelerate_make_the_steps_of_one(tmp_path):
    """Over gloo, started as launchers do it."""
    processes = two_processes(str(tmp_path / "losses.json"))
    told = [process.communicate(timeout=280)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    together = json.loads((tmp_path / "losses.json").read_text())
    alone = trainer(prompt_dropout=0.3, condition_dropout=0.0)
    fit(alone, lambda: None)
    assert together["count"] == 2
    assert together["losses"] == pytest.approx(alone.losses, abs=1e-4)


@pytest.mark.signals
def test_a_frozen_process_ends_the_run_in_time_and_the_last_checkpoint_is_named(tmp_path):
    processes = two_processes(str(tmp_path), "freeze")
    try:
        said = processes[0].communicate(timeout=120)[1]
    finally:
        processes[1].kill()
        processes[1].communicate()
    assert processes[0].returncode == 1
    assert said.endswith(
        f"Another process of the run does not answer.\nprocesses: got no answer for 4 s; expected an answer from every "
        f"process. Read what the other processes say. The last checkpoint: {tmp_path / 'run' / 'training_state.pt'}, "
        f"made after step 2. Start the run again to resume from it.\n"
    )


def test_gradients_are_reduced_in_few_large_pieces():
    tensors = [torch.full((3, 5), 1.0), torch.full((), 2.0), torch.full((40,), 3.0), torch.ones(2, dtype=torch.half)]
    sums = []

    def total(flat):
        sums.append(flat.numel())
        flat *= 2

    means = mean_in_pieces(tensors, total, 2)
    assert sums == [56, 2]
    assert all(torch.equal(*pair) and pair[0].shape == pair[1].shape for pair in zip(means, tensors, strict=True))
    assert [mean.dtype for mean in means] == [tensor.dtype for tensor in tensors]
    assert list(pieces(tensors, 100)) == [[0, 1], [2], [3]]


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


def prepare_and_train(folder, count, timeout=280):
    """Two processes prepare a data set, train, and resume with more pictures; see large.py."""
    processes = two_processes(str(folder), str(count), script="large.py")
    told = [process.communicate(timeout=timeout)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    found = json.loads((folder / "told.json").read_text())
    assert found["processes"] == 2
    first, second, third = found["runs"]
    assert [run["examples"] for run in found["runs"]] == [count, count + 10, count + 10]
    # Each picture is encoded once, by one of the two.
    assert [run["encoded"] for run in found["runs"]] == [count, 10, 0]
    assert [run["began"] for run in found["runs"]] == [0, 3, 5]
    assert [run["changes"] for run in found["runs"]] == [[], [3], [3]]
    assert third["losses"][:5] == second["losses"]
    assert second["losses"][:3] == first["losses"]
    assert len(third["losses"]) == 7


@pytest.mark.slow
def test_a_data_set_is_prepared_added_to_resumed_and_trained_by_two_processes(tmp_path):
    prepare_and_train(tmp_path, 120)
