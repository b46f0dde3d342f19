"""Several processes that train one adapter: each computes its share of a batch, and all make the same step."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .collectives import Connection
from .errors import TrainingError

# Variables with the number of processes, from `accelerate launch`, torchrun and variants of mpirun.
COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
# Variables set by `accelerate launch --cpu`; the second only if several processes were requested.
LAUNCHED_ON_CPU, SEVERAL_WANTED = "ACCELERATE_USE_CPU", "MASTER_ADDR"
# Processes wait for the slowest while a data set is prepared.
PREPARATION = datetime.timedelta(days=7)
# Longest wait for another process during training.
PATIENCE = datetime.timedelta(minutes=9)
# Makes NCCL raise an error in the waiting thread at its time limit, where it would end the process without a word.
NCCL_RAISES = "TORCH_NCCL_BLOCKING_WAIT"


@dataclass(frozen=True)
class Disagreement:
    """What to say when processes have different values of a fact.

    Attributes:
        fact: Name of the fact; the last row holds for all others.
        says: What is wrong.
        fix: What to do.
    """

    fact: str
    says: str
    fix: str


DISAGREEMENTS = (
    Disagreement(
        "step",
        "The processes of this run would resume from different checkpoints.",
        "Give all machines the same output folder.",
    ),
    Disagreement(
        "weights",
        "The processes of this run start from different weights.",
        "Give all machines the same files.",
    ),
    Disagreement(
        "",
        "The processes of this run were started differently.",
        "Start the same command with the same files on all machines.",
    ),
)


@dataclass(frozen=True)
class Processes:
    """The processes of a run.

    Attributes:
        index: Index of this process, from 0; process 0 writes the files.
        count: Number of processes.
        mean: Tensors -> their means over all processes, the same in each.
        gather: A value -> the values of all processes, in their order.
        wait: Waits until all processes get here, for days if need be.
        leave: Closes the connection.
    """

    index: int = 0
    count: int = 1
    mean: Callable[[list[Tensor]], list[Tensor]] = lambda tensors: tensors
    gather: Callable[[Any], list[Any]] = lambda value: [value]
    wait: Callable[[], None] = lambda: None
    leave: Callable[[], None] = lambda: None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes the files."""
        return self.index == 0

    def any(self, here: bool, device: torch.device) -> bool:
        """Return whether a condition holds in any process."""
        return bool(self.mean([torch.tensor(float(here), device=device)])[0] > 0)

    def agree(self, facts: Mapping[str, object]) -> None:
        """Check that facts are equal in all processes.

        Args:
            facts: Values by name, with the same names in every process.

        Raises:
            TrainingError: They differ; raised in every process, with the values of two.
        """
        everyone = self.gather({name: str(value) for name, value in facts.items()})
        for name, value in everyone[0].items():
            other = next((index for index, one in enumerate(everyone) if one.get(name) != value), None)
            if other is not None:
                row = next(row for row in DISAGREEMENTS if row.fact in (name, ""))
                raise TrainingError(
                    name,
                    f"{value} in process 0, {everyone[other].get(name)} in process {other}",
                    "the same in all processes",
                    row.fix,
                    says=row.says,
                )


ALONE = Processes()


def join(
    cpu: bool, environ: MutableMapping[str, str] = os.environ, patience: datetime.timedelta = PATIENCE
) -> Processes:
    """Connect to the processes that were launched together.

    Args:
        cpu: Train on the CPU.
        environ: Environment variables set by the launcher.
        patience: Longest wait for another process during training.

    Returns:
        The processes; :data:`ALONE` if there is only one.

    Raises:
        TrainingError: There are several and ``accelerate`` is not installed, or the launcher started too few.
    """
    launched = _launched(environ)
    if launched == 1:
        return ALONE
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise no_accelerate(launched) from error
    environ.setdefault(NCCL_RAISES, "1")
    state = PartialState(cpu=cpu, timeout=PREPARATION)
    training = torch.distributed.new_group(timeout=patience)
    connection = Connection(state.num_processes, patience.total_seconds(), training, state.wait_for_everyone)
    return Processes(
        index=state.process_index,
        count=state.num_processes,
        mean=connection.mean,
        gather=connection.gather,
        wait=connection.wait,
        leave=state.destroy_process_group,
    )


def no_accelerate(count: int) -> TrainingError:
    """Return the error for several processes without ``accelerate``."""
    return TrainingError(
        "accelerate",
        f"{count} processes, and no package to connect them",
        "accelerate (the extra 'train')",
        "Run `pip install accelerate`, or start the command without a launcher to train with one process.",
        says="Training with several processes needs the package accelerate.",
    )


def _launched(environ: Mapping[str, str]) -> int:
    """Return how many processes the launcher has started."""
    counts = [int(environ[name]) for name in COUNTS if name in environ]
    if not counts and LAUNCHED_ON_CPU in environ and SEVERAL_WANTED in environ:
        raise TrainingError(
            "accelerate launch --cpu",
            "one process where several were asked for",
            "a launcher that starts them all",
            "Use --multi_gpu instead of --cpu: without GPUs it also starts several processes on the CPU.",
            says="The launcher started one process, although several were requested.",
        )
    return max(counts, default=1)
