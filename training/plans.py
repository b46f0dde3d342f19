"""The plan of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .settings import Settings


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a run trains with, and what it writes.

    Attributes:
        folder: Folder of the run; the trained adapter takes its name.
        settings: Training settings.
        save_every: Steps between checkpoints; 0 saves only at the end.
        keep_checkpoints: Number of adapters at checkpoints that are kept, the newest; 0 for all.
        estimated: Whether the number of steps is an upper bound, until :meth:`TrainingSession.set_steps`.
        record: Name of the JSON file that the user's choices are written to.
        choices: The user's choices, for that file.
        notes: Further text files by name, written with it.
        allow_new_data: Let a run continue with other samples than it began with.
    """

    folder: Path
    settings: Settings
    save_every: int = 0
    keep_checkpoints: int = 0
    estimated: bool = False
    record: str = "settings.json"
    choices: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    allow_new_data: bool = False
