"""What a run of the benchmarks was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class Options:
    """The choices of the command line.

    Attributes:
        device: where to compute.
        quick: tiny models and few rounds: shows that it works, measures nothing.
        family: which UNet and adapter.
        patience: factor of the time that measuring may take.
    """

    device: torch.device
    quick: bool = False
    family: Literal["SD", "SDXL"] = "SD"
    patience: float = 1.0

    def key(self, name: str) -> str:
        """Return the name of a benchmark's section, which another device or family does not replace."""
        parts = [
            name,
            self.device.type,
            *(["SDXL"] if self.family == "SDXL" else []),
            *(["quick"] if self.quick else []),
        ]
        return " ".join(parts)
