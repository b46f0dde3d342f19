"""A run through its session: hooks, checkpoints, and processes that don't agree."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from t2i_adapter_pack.training.distributed import Processes
from t2i_adapter_pack.training.errors import LostProcessError, TrainingError
from t2i_adapter_pack.training.plans import RunPlan
from t2i_adapter_pack.training.session import AdapterFactory, TrainingSession

from . import samples

CPU = torch.device("cpu")


def session(folder: Any, processes: Any = None, plan: Any = None, **changes: Any) -> TrainingSession:
    """A session that writes empty files as adapters."""
    factory = AdapterFactory(
        build=lambda adapter, weights, name, record: adapter,
        write=lambda adapter, path: path.with_suffix(".safetensors").write_bytes(b"") or path,
    )
    plan = RunPlan(folder=folder / "run", settings=samples.settings(**changes), **(plan or {}))
    return TrainingSession(plan, factory, **({} if processes is None else {"processes": processes}))


def start(one: TrainingSession) -> None:
    one.start(SimpleNamespace(network=samples.adapter()), samples.examples(), samples.denoiser(), CPU)


def test_everything_after_a_step_is_called_in_order_and_the_last_may_stop_the_run(tmp_path):
    calls = []

    def stop(step: int, loss: float) -> None:
        calls.append(("second", step))
        if step == 3:
            raise KeyboardInterrupt

    with session(tmp_path) as one:
        start(one)
        with pytest.raises(KeyboardInterrupt):
            one.run(lambda step, loss: calls.append(("first", loss)), stop)
    assert calls == [
        pair for step, loss in enumerate(one.trainer.losses, 1) for pair in (("first", loss), ("second", step))
    ]
    assert len(calls) == 6


class Meeting:
    """Two threads in the place of processes."""

    def __init__(self) -> None:
        self.barrier, self.values = threading.Barrier(2, timeout=60), {}

    def processes(self, index: int) -> Processes:
        def gather(value: Any) -> list[Any]:
            self.values[index] = value
            self.barrier.wait()
            found = [self.values[place] for place in range(2)]
            self.barrier.wait()
            return found

        return Processes(index, 2, gather=gather)


def refusals(*sessions: Any) -> list[str]:
    """What each session says, started at the same time."""
    said = [""] * len(sessions)

    def enter(place: int) -> None:
        try:
            with sessions[place] as one:
                start(one)
        except TrainingError as error:
            said[place] = str(error)

    threads = [threading.Thread(target=enter, args=(place,)) for place in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_processes_with_different_settings_end_with_both_values(tmp_path):
    meeting = Meeting()
    said = refusals(*(session(tmp_path, meeting.processes(index), seed=index) for index in range(2)))
    assert said[0] == said[1]
    assert "The processes of this run were started differently." in said[0]
    assert "seed: got 0 in process 0, 1 in process 1; expected the same" in said[0]


def test_processes_that_see_different_checkpoints_end_with_both_steps(tmp_path):
    meeting = Meeting()
    with session(tmp_path / "first", steps=2) as one:
        start(one)
        one.run()
    said = refusals(
        session(tmp_path / "first", meeting.processes(0)), session(tmp_path / "second", meeting.processes(1))
    )
    assert said[0] == said[1]
    assert "step: got 2 in process 0, 0 in process 1" in said[0]
    assert "Give all machines the same output folder." in said[0]


def test_processes_with_different_weights_end_with_both_digests(tmp_path, monkeypatch):
    meeting = Meeting()
    both = [session(tmp_path / str(index), meeting.processes(index)) for index in range(2)]
    for index, one in enumerate(both):
        begin = one.start
        other = SimpleNamespace(network=samples.adapter(index))
        monkeypatch.setattr(one, "start", lambda _, *rest, begin=begin, other=other: begin(other, *rest))
    said = refusals(*both)
    assert said[0] == said[1]
    assert "The processes of this run start from different weights." in said[0]
    digests = [samples.trainer(begin=samples.adapter(index)).fingerprint() for index in range(2)]
    assert f"weights: got {digests[0]} in process 0, {digests[1]} in process 1" in said[0]


def test_a_lost_process_is_told_with_the_last_checkpoint(tmp_path):
    def lose(step: int, loss: float) -> None:
        raise LostProcessError("processes", "no answer", "one", "Look.", says="It does not answer.")

    with session(tmp_path) as one:
        start(one)
        with pytest.raises(LostProcessError, match="The last checkpoint: none yet"):
            one.run(lose)
