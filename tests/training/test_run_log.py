"""The log of a run: a line for each step, however often the run stops, is killed, or fills the disk."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from t2i_adapter_pack.training.errors import CheckpointError
from t2i_adapter_pack.training.run_log import LOG_FILE, read_log

from .test_session import session, start


def train(tmp_path: Path, *after_step, **changes) -> list[float]:
    with session(tmp_path, **changes) as one:
        start(one)
        one.run(*after_step)
        return one.trainer.losses


def log(tmp_path: Path) -> list[dict]:
    """The file as others read it: every line is JSON."""
    return [json.loads(line) for line in (tmp_path / "run" / LOG_FILE).read_text().splitlines()]


def stop_at(last: int):
    def stop(step: int, loss: float) -> None:
        if step == last:
            raise KeyboardInterrupt

    return stop


def test_every_step_has_a_line_with_its_loss_rate_and_time(tmp_path):
    losses = train(tmp_path)
    lines = log(tmp_path)
    assert [(line["step"], line["loss"]) for line in lines] == list(enumerate(losses, 1))
    assert all(line["learning_rate"] == 1e-2 and 0 < line["seconds"] < 60 for line in lines)
    assert read_log(tmp_path / "run") == lines


def test_a_resumed_run_repeats_no_line_and_drops_those_after_its_checkpoint(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop_at(5), plan={"save_every": 2})
    first = log(tmp_path)
    assert [line["step"] for line in first] == [1, 2, 3, 4, 5]
    train(tmp_path, plan={"save_every": 2})
    lines = log(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[:4] == first[:4]
    assert lines[4] != first[4]  # made again, in another time
    assert lines[4]["loss"] == first[4]["loss"]


def test_half_a_line_and_lost_lines_are_mended(tmp_path):
    losses = train(tmp_path, steps=4)
    path = tmp_path / "run" / LOG_FILE
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(whole[0] + whole[2] + whole[3][:9])
    losses = train(tmp_path, steps=5)
    lines = log(tmp_path)
    assert [(line["step"], line["loss"]) for line in lines] == list(enumerate(losses, 1))
    assert [line.keys() == {"step", "loss"} for line in lines] == [False, True, False, True, False]


def test_lines_of_an_earlier_run_in_the_folder_are_not_taken(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOG_FILE).write_text('{"step": 1, "loss": 7.0, "learning_rate": 1.0}\n')
    losses = train(tmp_path, steps=2)
    assert [line["loss"] for line in log(tmp_path)] == losses


def test_what_happens_after_a_step_adds_to_its_line(tmp_path):
    with session(tmp_path, steps=3) as one:
        start(one)
        one.run(lambda step, loss: one.values.update(more=step * 10))
    assert [line["more"] for line in log(tmp_path)] == [10, 20, 30]


def test_saving_does_not_count_as_time_of_a_step(tmp_path, monkeypatch):
    import time

    with session(tmp_path, steps=2, plan={"save_every": 1}) as one:
        start(one)
        save = one.save
        monkeypatch.setattr(one, "save", lambda: (time.sleep(0.5), save()))
        one.run(lambda step, loss: time.sleep(0.5))
    assert all(line["seconds"] < 0.4 for line in log(tmp_path))


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(path, mode="r", *args, **kwargs):
        if path.name == LOG_FILE and mode == "ab":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opens(path, mode, *args, **kwargs)

    opens = Path.open
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(CheckpointError, match=r"(?s)The disk is full\..*log\.jsonl"):
        train(tmp_path)
