"""The log of a run: a file with one line of JSON for each step, without gaps or repeats however often it resumes."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .checkpoints import trouble, write_whole

LOG_FILE = "log.jsonl"
# Takes the values of a step: its number as "step", and "loss", "learning_rate", "seconds", "held_out_loss" …
StepLog = Callable[[Mapping[str, Any]], None]


class RunLog:
    """The log file of a run, open for its next steps.

    Opening it drops the lines after the last step of the checkpoint, which the run will make again, and damaged lines.
    Steps without a line get one with their loss: a power cut may lose lines, and older versions wrote none.

    Args:
        folder: The folder of the run.
        losses: The losses of the steps made, as the checkpoint records them.

    Raises:
        CheckpointError: The file can't be read or written.
    """

    def __init__(self, folder: Path, losses: Sequence[float]) -> None:
        self._path = folder / LOG_FILE
        try:
            data = self._path.read_bytes() if self._path.exists() else b""
        except OSError as error:
            raise trouble(self._path, error) from error
        known = {line["step"]: line for line in _lines(data)}
        kept = b"".join(_line(_of_step(known, step, loss)) for step, loss in enumerate(losses, 1))
        if kept != data:
            write_whole(self._path, lambda file: file.write(kept))

    def __call__(self, values: Mapping[str, Any]) -> None:
        """Append the line of a step.

        Raises:
            CheckpointError: The disk is full, or similar.
        """
        try:
            with self._path.open("ab") as file:
                file.write(_line(values))
        except OSError as error:
            raise trouble(self._path, error) from error


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read the log of a run.

    Args:
        folder: The folder of the run.

    Returns:
        The values of each step, in order, without damaged lines.
    """
    return list(_lines((folder / LOG_FILE).read_bytes()))


def _of_step(known: Mapping[int, dict[str, Any]], step: int, loss: float) -> Mapping[str, Any]:
    line = known.get(step)
    # A line with another loss belongs to a run that was in this folder before.
    return line if line is not None and line.get("loss") == loss else {"step": step, "loss": loss}


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(values)).encode() + b"\n"


def _lines(data: bytes) -> Iterator[dict[str, Any]]:
    for text in data.split(b"\n"):
        try:
            line = json.loads(text)
        except ValueError:  # half a line, of a process that was killed
            continue
        if isinstance(line, dict) and type(line.get("step")) is int:
            yield line


class StepClock:
    """Measures the time of each step, without what happens between steps."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start to measure a step."""
        self._began = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.perf_counter() - self._began

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time in this context."""
        until = self.seconds()
        yield
        self._began = time.perf_counter() - until
