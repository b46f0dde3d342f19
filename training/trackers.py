"""Report a run to TensorBoard or Weights & Biases, through accelerate's trackers."""

from __future__ import annotations

import importlib
import importlib.util
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checkpoints import write_whole
from .errors import TrainingError

# Project of all runs in Weights & Biases.
PROJECT = "t2i-adapter"
# Names a run of Weights & Biases, so that a resumed training continues it.
WANDB_ID = "wandb_id.txt"


@dataclass(frozen=True)
class TrackerKind:
    """A program that shows the course of runs.

    Attributes:
        name: Name that the user chooses, which is accelerate's and that of its package.
        options: (folder of the run, steps made) -> arguments of accelerate's tracker.
        of_images: Arguments for logging images.
        error: Module and name of its package's own error, if it has one.
    """

    name: str
    options: Callable[[Path, int], dict[str, Any]]
    of_images: Mapping[str, Any] = field(default_factory=dict)
    error: tuple[str, str] | None = None


def _wandb_options(folder: Path, step: int) -> dict[str, Any]:
    path = folder / WANDB_ID
    if not (step and path.is_file()):
        fresh = uuid.uuid4().hex.encode()
        write_whole(path, lambda file: file.write(fresh))
    known = {"id": path.read_text().strip(), "resume": "allow"}
    return {"run_name": PROJECT, "name": folder.name, "dir": str(folder), **known}


TRACKERS = (
    TrackerKind(
        "tensorboard",
        # The viewer hides what was reported after the checkpoint that the run resumes from.
        lambda folder, step: {"run_name": "tensorboard", "logging_dir": str(folder), "purge_step": step + 1},
        {"dataformats": "NHWC"},
    ),
    TrackerKind("wandb", _wandb_options, error=("wandb.errors", "Error")),
)


@dataclass(frozen=True)
class Tracker:
    """An open tracker.

    Attributes:
        kind: Its row of :data:`TRACKERS`.
        inner: Accelerate's tracker.
    """

    kind: TrackerKind
    inner: Any

    def __call__(self, values: Mapping[str, Any]) -> None:
        """Report the values of a step; see :data:`.run_log.StepLog`."""
        known = dict(values)
        step = known.pop("step")
        self.inner.log(known, step=step)

    def pictures(self, name: str, pictures: NDArray[np.uint8], step: int) -> None:
        """Report pictures.

        Args:
            name: Name of the group.
            pictures: (N, H, W, 3) bytes.
            step: Steps made.
        """
        self.inner.log_images({name: pictures}, step=step, **self.kind.of_images)

    def close(self) -> None:
        """Write the rest and close the tracker."""
        self.inner.finish()


def check_trackers(names: Sequence[str]) -> None:
    """Check that the packages for trackers are installed, without importing them.

    Args:
        names: Names of :data:`TRACKERS`.

    Raises:
        TrainingError: One is missing.
    """
    for package in ("accelerate", *names) if names else ():
        if not _installed(package):
            raise TrainingError(
                "report_to",
                f"{', '.join(names)}, and no package {package}",
                "accelerate, and the package that shows the run",
                f"Run `pip install {package}`, or omit report_to: log.jsonl has the same numbers.",
                says=f"Reporting needs the package {package}.",
            )


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module that is None in sys.modules
        return False


def open_trackers(names: Sequence[str], folder: Path, settings: Mapping[str, Any], step: int) -> list[Tracker]:
    """Begin to report a run, or continue to.

    Args:
        names: Names of :data:`TRACKERS`.
        folder: Folder of the run.
        settings: What the run trains with: numbers, texts and switches.
        step: Steps made.

    Returns:
        The trackers, for this process alone.

    Raises:
        TrainingError: A package is missing, or the tracker can't be opened: the network, or a login.
        CheckpointError: A file can't be written.
    """
    check_trackers(names)
    if not names:
        return []
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    # Accelerate's own log requires it; it is there already if several processes train.
    PartialState(cpu=True)
    rows = [row for row in TRACKERS if row.name in names]
    return [_opened(row, LOGGER_TYPE_TO_CLASS[row.name], folder, settings, step) for row in rows]


def _opened(row: TrackerKind, make: Any, folder: Path, settings: Mapping[str, Any], step: int) -> Tracker:
    inner = make(**row.options(folder, step))
    # The caller is the one process that reports.
    inner.main_process_only = False
    known = () if row.error is None else (getattr(importlib.import_module(row.error[0]), row.error[1]),)
    try:
        # Newer versions of accelerate open the tracker here, older ones when it is made.
        if hasattr(inner, "start"):
            inner.start()
        if not step:
            inner.store_init_configuration(dict(settings))
    except (ImportError, OSError, *known) as error:
        raise TrainingError(
            "report_to",
            f"{row.name}, which can't be opened ({error})",
            "a tracker that takes the run",
            "Correct that, log in, or omit report_to: log.jsonl has the same numbers.",
            says=f"The run can't be reported to {row.name}.",
        ) from error
    return Tracker(row, inner)
