"""The options of a benchmark run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class Options:
    """The choices of the command line.

    Attributes:
        device: Device to compute on.
        quick: Use tiny models and few rounds, to test the code only.
        family: Family of the UNet and the adapter.
        patience: Factor of the time for measuring.
    """

    device: torch.device
    quick: bool = False
    family: Literal["SD", "SDXL"] = "SD"
    patience: float = 1.0

    def key(self, name: str) -> str:
        """Return the name of a benchmark's section; it differs by device and family."""
        parts = [
            name,
            self.device.type,
            *(["SDXL"] if self.family == "SDXL" else []),
            *(["quick"] if self.quick else []),
        ]
        return " ".join(parts)
