"""Several processes that train one adapter: each has its share of a batch, and all make the same step."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import TrainingError

# Set by `accelerate launch` and torchrun.
COUNT = "WORLD_SIZE"
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


def join(cpu: bool) -> Processes:
    """Join the processes that were launched together.

    Args:
        cpu: Train on the CPU.

    Returns:
        The processes; one alone where nothing else was launched.

    Raises:
        TrainingError: There are several, and ``accelerate`` is not installed.
    """
    if int(os.environ.get(COUNT, "1")) == 1:
        return ALONE
    try:
        from accelerate import PartialState  # type: ignore[import-untyped]
        from accelerate.utils import reduce  # type: ignore[import-untyped]
    except ImportError as error:
        raise TrainingError(
            "accelerate",
            f"{os.environ[COUNT]} processes, and no package to connect them",
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
