"""Reports to TensorBoard and Weights & Biases through accelerate: what they are given, and what is missing."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from t2i_adapter_pack.training.errors import TrainingError
from t2i_adapter_pack.training.trackers import TRACKERS, check_trackers, open_trackers


class RefusedError(Exception):
    """In the place of Weights & Biases' own error."""


NAMES = [row.name for row in TRACKERS]
PICTURES = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)


@pytest.fixture
def accelerates(monkeypatch):
    """Accelerate's own tracker classes, without the packages that they write with: each notes what it is given."""
    from accelerate import tracking

    noted = []
    for name in NAMES:
        real = tracking.LOGGER_TYPE_TO_CLASS[name]

        class Noting(real):
            def start(self):
                noted.append((type(self).name, self.init_kwargs))

            def store_init_configuration(self, values):
                noted.append(("settings", values))

            def log(self, values, step=None, **kwargs):
                noted.append((step, values))

            def log_images(self, values, step=None, **kwargs):
                noted.append((step, values, kwargs))

            def finish(self):
                noted.append("closed")

        monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, name, Noting)
        monkeypatch.setitem(sys.modules, name, sys)  # any module: it counts as installed
    monkeypatch.setitem(sys.modules, "wandb.errors", types.SimpleNamespace(Error=RefusedError))
    return noted


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_reported_and_continued(tmp_path, accelerates, name):
    (one,) = open_trackers([name], tmp_path, {"steps": 6}, 0)
    one({"step": 1, "loss": 0.5, "learning_rate": 1e-5})
    one.pictures("validation", PICTURES, 1)
    one.close()
    (begun, settings, values, pictures, closed) = accelerates
    assert settings == ("settings", {"steps": 6})
    assert values == (1, {"loss": 0.5, "learning_rate": 1e-5})
    assert pictures[0] == 1
    assert np.array_equal(pictures[1]["validation"], PICTURES)
    assert closed == "closed"
    accelerates.clear()
    open_trackers([name], tmp_path, {"steps": 6}, 4)
    ((again, more),) = accelerates
    # The same run: Weights & Biases know it by its id, TensorBoard hides what comes again.
    assert again == begun[0] == name
    assert more.get("id") == begun[1].get("id")
    assert (begun[1].get("purge_step"), more.get("purge_step")) in ((1, 5), (None, None))


@pytest.mark.parametrize("error", [RefusedError("no key; run wandb login"), OSError("no network")], ids=str)
def test_a_tracker_that_refuses_is_told(tmp_path, accelerates, monkeypatch, error):
    from accelerate import tracking

    def refuse(self):
        raise error

    monkeypatch.setattr(tracking.LOGGER_TYPE_TO_CLASS["wandb"], "start", refuse)
    with pytest.raises(TrainingError, match=f"(?s)The run can't be reported to wandb.*{error}"):
        open_trackers(["wandb"], tmp_path, {}, 0)


def test_another_run_in_the_same_folder_has_another_id(tmp_path, accelerates):
    ids = set()
    for _ in range(2):
        accelerates.clear()
        open_trackers(["wandb"], tmp_path, {}, 0)
        ids.add(accelerates[0][1]["id"])
    assert len(ids) == 2


@pytest.mark.parametrize("missing", ["accelerate", "tensorboard"])
def test_a_missing_package_is_told(monkeypatch, missing):
    for name in ("accelerate", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None if name == missing else sys)
    with pytest.raises(TrainingError, match=f"Reporting needs the package {missing}") as caught:
        check_trackers(["tensorboard"])
    assert f"pip install {missing}" in caught.value.fix


def test_nothing_is_needed_for_no_tracker(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert open_trackers([], tmp_path, {}, 0) == []


@pytest.mark.package("tensorboard")
def test_tensorboard_shows_the_run_once_after_a_resume(tmp_path):
    """Read by TensorBoard itself: the steps that are made again replace those reported before."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (one,) = open_trackers(["tensorboard"], tmp_path, {"steps": 6, "precision": "fp32"}, 0)
    for step in (1, 2, 3):
        one({"step": step, "loss": step / 10})
    one.pictures("validation", PICTURES, 3)
    one.close()
    (again,) = open_trackers(["tensorboard"], tmp_path, {"steps": 6, "precision": "fp32"}, 2)
    for step in (3, 4):
        again({"step": step, "loss": step / 100, "held_out_loss": 0.25})
    again.pictures("validation", PICTURES, 3)
    again.close()
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    assert [(one.step, one.value) for one in shown.Scalars("loss")] == [
        (1, pytest.approx(0.1)),
        (2, pytest.approx(0.2)),
        (3, pytest.approx(0.03)),
        (4, pytest.approx(0.04)),
    ]
    assert [one.step for one in shown.Scalars("held_out_loss")] == [3, 4]
    # Two pictures are one image for each, all of the step made again.
    assert {one.step for tag in shown.Tags()["images"] for one in shown.Images(tag)} == {3}
