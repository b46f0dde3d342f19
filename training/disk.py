"""The disk space of a run's checkpoints: what they need, what there is, and which ones are kept."""

from __future__ import annotations

import glob
import shutil
from pathlib import Path

from ..adapter_models.networks import Adapter
from .checkpoints import STATE_FILE, trouble
from .errors import CheckpointError
from .optimizers import optimizer_named
from .plans import RunPlan

# Bytes of a weight in fp32.
_WEIGHT = 4
# Bytes of a file besides its numbers: names, shapes, losses.
_REST = 64 << 10


def adapters_of_run(folder: Path) -> list[Path]:
    """Return the adapters that a run has saved at its checkpoints, oldest first."""
    return sorted(folder.glob(f"{glob.escape(folder.name)}_step_{'[0-9]' * 8}.safetensors"))


def remove_older(folder: Path, newest: Path, keep: int) -> None:
    """Remove the oldest adapters of a run's checkpoints.

    Args:
        folder: The folder of the run.
        newest: The adapter of the last checkpoint, without suffix; later ones belong to steps that were lost.
        keep: Number of adapters to keep; 0 for all.

    Raises:
        CheckpointError: A file can't be removed.
    """
    found = [path for path in adapters_of_run(folder) if path.stem <= newest.name]
    for path in found[:-keep] if keep else []:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise trouble(path, error) from error


def needed_space(plan: RunPlan, made: int, network: Adapter) -> int:
    """Return the bytes that the rest of a run writes at most, besides its prepared data.

    Args:
        plan: The plan of the run, whose folder may have files of it.
        made: Number of steps made.
        network: The adapter.
    """
    weights = sum(parameter.numel() for parameter in network.parameters())
    settings, keep = plan.settings, plan.keep_checkpoints
    adapter = _WEIGHT * weights
    moving_average = _WEIGHT if settings.ema else 0
    state = round(weights * (_WEIGHT + optimizer_named(settings.optimizer).memory + moving_average))
    left = settings.steps - made
    saves = -(-left // plan.save_every) if plan.save_every else min(left, 1)
    # A file is whole before the one that it replaces goes.
    adapters = min(saves, max(0, keep + 1 - len(adapters_of_run(plan.folder)))) if keep else saves
    states = min(saves, 1 if (plan.folder / STATE_FILE).exists() else 2)
    finished = 1
    return (adapter + _REST) * (adapters + finished) + (state + _REST) * states


def check_space(folder: Path, needed: int) -> str:
    """Check that a disk has the space that a run needs.

    Args:
        folder: A folder on the disk.
        needed: Number of bytes.

    Returns:
        A line that tells the user both.

    Raises:
        CheckpointError: The disk has less.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(
            str(folder),
            f"{_in_words(free)} left on the disk",
            f"{_in_words(needed)} for checkpoints",
            "Free some space, keep fewer with keep_checkpoints, or raise save_every.",
            says="The disk has too little space for the checkpoints of this run.",
        )
    return f"Checkpoints need up to {_in_words(needed)}; the disk has {_in_words(free)} left."


def _in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
