"""Random weights in the authors' layout, nesting and precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..annotators import others

LINES: dict[str, Any] = {
    "table5_pidinet.pth": others.pidinet,
    "ControlNetHED.pth": others.hed,
    "sk_model.pth": others.lineart,
    "sk_model2.pth": others.lineart,
}


def save_lines(folder: Path) -> dict[str, Path]:
    """Write the files of the line annotators; return them by name."""
    for seed, (name, make) in enumerate(LINES.items()):
        torch.manual_seed(seed)
        tensors = make().state_dict()
        if name == "table5_pidinet.pth":
            tensors = {"state_dict": {f"module.{key}": value for key, value in tensors.items()}}
        if name == "ControlNetHED.pth":
            tensors = {key: value.half() for key, value in tensors.items()}
        torch.save(tensors, folder / name)
    return {name: folder / name for name in LINES}


def picture(height: int = 40, width: int = 56, count: int = 1, channels: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, height, width, channels, generator=generator)
