"""Several processes that train one adapter: each computes its share of a batch, and all make the same step."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import TrainingError

# Variables with the number of processes, from `accelerate launch`, torchrun and variants of mpirun.
COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
# Variables set by `accelerate launch --cpu`; the second only if several processes were requested.
LAUNCHED_ON_CPU, SEVERAL_WANTED = "ACCELERATE_USE_CPU", "MASTER_ADDR"
# Processes wait for the slowest while a data set is prepared.
PATIENCE = datetime.timedelta(days=7)


@dataclass(frozen=True)
class Processes:
    """The processes of a run.

    Attributes:
        index: Index of this process, from 0; process 0 writes the files.
        count: Number of processes.
        mean: Tensors -> their means over all processes, the same in each.
        wait: Waits until all processes get here.
        leave: Closes the connection.
    """

    index: int = 0
    count: int = 1
    mean: Callable[[list[Tensor]], list[Tensor]] = lambda tensors: tensors
    wait: Callable[[], None] = lambda: None
    leave: Callable[[], None] = lambda: None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes the files."""
        return self.index == 0

    def any(self, here: bool, device: torch.device) -> bool:
        """Return whether a condition holds in any process."""
        return bool(self.mean([torch.tensor(float(here), device=device)])[0] > 0)


ALONE = Processes()


def join(cpu: bool, environ: Mapping[str, str] = os.environ) -> Processes:
    """Connect to the processes that were launched together.

    Args:
        cpu: Train on the CPU.
        environ: Environment variables set by the launcher.

    Returns:
        The processes; :data:`ALONE` if there is only one.

    Raises:
        TrainingError: There are several and ``accelerate`` is not installed, or the launcher started too few.
    """
    counts = [int(environ[name]) for name in COUNTS if name in environ]
    if not counts and LAUNCHED_ON_CPU in environ and SEVERAL_WANTED in environ:
        raise TrainingError(
            "accelerate launch --cpu",
            "one process where several were asked for",
            "a launcher that starts them all",
            "Use --multi_gpu instead of --cpu: without GPUs it also starts several processes on the CPU.",
            says="The launcher started one process, although several were requested.",
        )
    if max(counts, default=1) == 1:
        return ALONE
    try:
        from accelerate import PartialState
        from accelerate.utils import reduce
    except ImportError as error:
        raise TrainingError(
            "accelerate",
            f"{max(counts)} processes, and no package to connect them",
            "accelerate (the extra 'train')",
            "Run `pip install accelerate`, or start the command without a launcher to train with one process.",
            says="Training with several processes needs the package accelerate.",
        ) from error
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    return Processes(
        index=state.process_index,
        count=state.num_processes,
        mean=lambda tensors: list(reduce(tensors, reduction="mean")),
        wait=state.wait_for_everyone,
        leave=state.destroy_process_group,
    )
