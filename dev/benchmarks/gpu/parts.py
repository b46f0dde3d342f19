"""The measurements: each runs in its own process, which prints its rows one by one."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from .. import models
from . import drawing, pictures, steps, training
from .children import lines
from .setting import Row, Setting

LAUNCH = Path(__file__).absolute().parents[2] / "tasks" / "launch.py"
MARK = "measured: "


@dataclass(frozen=True)
class Part:
    """A measurement.

    Attributes:
        name: Name passed to its process.
        share: Share of the time left for this part and the later ones.
        run: Measures and yields rows.
        cases: (table, case) of all expected rows.
    """

    name: str
    share: float
    run: Callable[[Setting], Iterator[Row]]
    cases: Callable[[Setting], Sequence[tuple[str, str]]]


PARTS = (
    Part("steps SD", 3, functools.partial(steps.run, "SD"), functools.partial(steps.cases, "SD")),
    Part("steps SDXL", 4, functools.partial(steps.run, "SDXL"), functools.partial(steps.cases, "SDXL")),
    Part("pictures", 2, pictures.run, pictures.cases),
    Part("training SD", 1, functools.partial(training.run, "SD"), functools.partial(training.cases, "SD")),
    Part("training SDXL", 2, functools.partial(training.run, "SDXL"), functools.partial(training.cases, "SDXL")),
    Part("annotators", 1, drawing.run, drawing.cases),
)
# Runs during the checks, which are not timed: inductor compiles into its cache, so measurements only load.
WARMING = (
    Part("warm SD", 1, functools.partial(steps.warm, "SD"), lambda _: ()),
    Part("warm SDXL", 1, functools.partial(steps.warm, "SDXL"), lambda _: ()),
)


def measured(part: Part, setting: Setting) -> Iterator[Row]:
    """Measure a part in its own process.

    Raises:
        StoppedError: It did not finish.
    """
    for line in lines(command(part, setting), setting.seconds, dict(os.environ)):
        if line.startswith(MARK):
            table, cells = json.loads(line.removeprefix(MARK))
            yield table, tuple(cells)


def command(part: Part, setting: Setting) -> list[str]:
    """Return the command for a part; its own time limit is a little shorter, so that it ends by itself."""
    until = time.time() + 0.9 * setting.seconds
    arguments = (part.name, setting.device.type, f"{until:.1f}", str(int(setting.brief)))
    return [sys.executable, str(LAUNCH), f"{__package__}.parts".partition(".")[2], *arguments]


def main(arguments: list[str]) -> int:
    """Measure one part, and print its rows."""
    name, device, until, brief = arguments
    part = next(row for row in (*PARTS, *WARMING) if row.name == name)
    if device == "cpu":
        torch.set_num_threads(1)  # several threads are slow on small models
    found = models.start_comfyui(device)
    setting = Setting(found, bool(int(brief)), float(until) - time.time())
    for row in part.run(setting):
        print(MARK + json.dumps(row), flush=True)
    return 0
