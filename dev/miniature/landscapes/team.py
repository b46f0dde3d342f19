"""Processes that train together: single-threaded ones that share gradients are quicker than threads on small layers."""

from __future__ import annotations

import contextlib
import datetime
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed

FOLDER = Path(__file__).resolve().parents[1]
PATIENCE = datetime.timedelta(hours=6)
PAUSE = 5.0  # seconds between looks for a file


@dataclass(frozen=True)
class Team:
    """One of several processes.

    Attributes:
        workers: How many there are.
        rank: Which this one is, from 0.
    """

    workers: int = 1
    rank: int = 0

    @property
    def lead(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.workers > 1:
            distributed.barrier()

    def wait_for(self, file: Path) -> None:
        """Wait until another process has written a file.

        Raises:
            TimeoutError: It has not come.
        """
        last = time.monotonic() + PATIENCE.total_seconds()
        while self.workers > 1 and not file.exists():
            if time.monotonic() > last:
                raise TimeoutError(f"wait_for: got no {file} within {PATIENCE}; expected it from another process.")
            time.sleep(PAUSE)


@contextlib.contextmanager
def gathered(workers: int, rank: int, work: Path, argv: list[str]) -> Iterator[Team]:
    """Start the other processes of a command and connect them; at the end wait for them.

    Args:
        workers: how many in all.
        rank: which this one is; the first starts the others.
        work: folder for the file by which they find each other.
        argv: the command line after `train`.

    Raises:
        RuntimeError: another process has failed.
    """
    if workers == 1:
        yield Team()
        return
    meeting = work.resolve() / "meeting"
    others: list[subprocess.Popen[bytes]] = []
    if rank == 0:
        meeting.unlink(missing_ok=True)
        for number in range(1, workers):
            command = [sys.executable, str(FOLDER), "train", *argv, "--workers", str(workers), "--rank", str(number)]
            others.append(subprocess.Popen(command))
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    try:
        distributed.init_process_group(
            "gloo", init_method=meeting.as_uri(), rank=rank, world_size=workers, timeout=PATIENCE
        )
        yield Team(workers, rank)
        distributed.destroy_process_group()
    except BaseException:
        for other in others:
            other.kill()
        raise
    finally:
        torch.set_num_threads(threads)
    if any(other.wait() for other in others):
        raise RuntimeError("train: another process has failed; its error stands above.")
