"""The options of a part of the suite, and its rows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

import torch

from ..measure import Patience

Family = Literal["SD", "SDXL"]
# Name in TABLES, and cells; the first cell names the case.
Row = tuple[str, tuple[str, ...]]
# Minimum for a 95 % interval of the median.
LEAST, MOST = 6, 60


@dataclass(frozen=True)
class Setting:
    """The choices of a run.

    Attributes:
        device: Device to compute on; on the CPU all sizes are small, and the figures are meaningless.
        brief: Fewer cases and rounds, for a test.
        seconds: Time limit of the part.
    """

    device: torch.device
    brief: bool = False
    seconds: float = 60.0
    began: float = field(default_factory=time.monotonic)

    @property
    def small(self) -> bool:
        """Whether models and pictures are tiny."""
        return self.device.type == "cpu"

    def patience(self, cases: int, precision: float = 0.002) -> Patience:
        """Return the seconds for measuring each remaining case: half of its share; the rest is set-up."""
        if self.small:
            rounds = 1 if self.brief else LEAST
            return Patience(rounds, rounds, 0.0)
        left = max(0.0, self.began + self.seconds - time.monotonic())
        return Patience(LEAST, MOST, left / (2 * max(1, cases)), precision)

    def size(self, family: Family) -> int:
        """Return the side of the pictures, in pixels."""
        return 64 if self.small else 1024 if family == "SDXL" else 512


# Name -> caption and heading.
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "steps": (
        "A sampling step, fp16",
        ("case", "bare, ms", "ours / bare", "≤ 1.01", "ours / core", "≤ 1"),
    ),
    "reads": (
        "Waits of the host for the device, in a step at constant weights",
        ("case", "bare", "ours", "core", "added by ours", "0"),
    ),
    "memory": (
        "Peak memory of a run",
        ("case", "bare", "ours", "core", "ours / core", "≤ 1"),
    ),
    "pictures": (
        "The first picture after a start, and the second",
        ("case", "ours, s", "core, s", "ours / core", "≤ 1"),
    ),
    "training": (
        "Training, bf16, batch of 1",
        ("case", "ours, steps per s", "diffusers' script, steps per s", "time, ours / script", "≤ 1/1.3",
         "peak, ours", "peak, script", "ours / script", "≤ 0.8", "loss of the first batch, both"),
    ),
    "annotators": (
        "Annotators, fp32, one picture",
        ("case", "ours, ms", "controlnet_aux, ms", "ours / controlnet_aux", "≤ 1/1.3", "peak, ours", "peak, theirs"),
    ),
}  # fmt: skip
