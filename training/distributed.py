"""Several processes that train one adapter: each has its share of a batch, and all make the same step."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import TrainingError

# How many processes there are: of `accelerate launch` and torchrun, and of the kinds of mpirun.
COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
# What `accelerate launch --cpu` sets, and what it sets only where it was asked for several processes.
LAUNCHED_ON_CPU, SEVERAL_WANTED = "ACCELERATE_USE_CPU", "MASTER_ADDR"
# Processes wait for the slowest while a data set is prepared.
PATIENCE = datetime.timedelta(days=7)


@dataclass(frozen=True)
class Processes:
    """The processes of a run.

    Attributes:
        index: Which one this is, from 0; the first writes the files.
        count: How many there are.
        mean: Tensors -> their means over all processes, the same in each.
        wait: Waits until all processes have come here.
        leave: Ends the connection.
    """

    index: int = 0
    count: int = 1
    mean: Callable[[list[Tensor]], list[Tensor]] = lambda tensors: tensors
    wait: Callable[[], None] = lambda: None
    leave: Callable[[], None] = lambda: None

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.index == 0

    def any(self, here: bool, device: torch.device) -> bool:
        """Tell whether something is so in any process."""
        return bool(self.mean([torch.tensor(float(here), device=device)])[0] > 0)


ALONE = Processes()


def join(cpu: bool, environ: Mapping[str, str] = os.environ) -> Processes:
    """Join the processes that were launched together.

    Args:
        cpu: Train on the CPU.
        environ: What the launcher says.

    Returns:
        The processes; one alone where nothing else was launched.

    Raises:
        TrainingError: There are several, and ``accelerate`` is not installed; or the launcher started too few.
    """
    counts = [int(environ[name]) for name in COUNTS if name in environ]
    if not counts and LAUNCHED_ON_CPU in environ and SEVERAL_WANTED in environ:
        raise TrainingError(
            "accelerate launch --cpu",
            "one process where several were asked for",
            "a launcher that starts them all",
            "Write --multi_gpu in the place of --cpu: without GPUs it starts several processes on the CPU, too.",
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
        ) from error
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    return Processes(
        index=state.process_index,
        count=state.num_processes,
        mean=lambda tensors: list(reduce(tensors, reduction="mean")),
        wait=state.wait_for_everyone,
        leave=state.destroy_process_group,
    )
