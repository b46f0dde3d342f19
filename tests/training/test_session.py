"""A run through its session: hooks, checkpoints, and processes that don't agree."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from t2i_adapter_pack.training.session import AdapterFactory, RunPlan, TrainingSession

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
