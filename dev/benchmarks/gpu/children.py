"""Processes that must end in time: each gets a limit, and goes with all that it has started when that is over."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# How much of what a process said is told when it fails.
TAIL = 300
# What Python takes for the folder of temporary files.
TEMPORARY = ("TMPDIR", "TEMP", "TMP")
# A process with its children is a group of its own.
GROUP: dict[str, Any] = {} if os.name == "nt" else {"start_new_session": True}


class StoppedError(RuntimeError):
    """A process did not end in time, or failed; the message says which."""


def lines(command: Sequence[str], limit: float, environ: Mapping[str, str], cwd: Path | None = None) -> Iterator[str]:
    """Run a process and yield each line that it prints as it comes.

    Args:
        command: what to run.
        limit: seconds after which it is ended.
        environ: its environment.
        cwd: where it runs.

    Raises:
        StoppedError: it was ended, or failed.
    """
    late = threading.Event()
    limit = max(0.1, limit)
    # A process that is ended leaves its temporary files behind: here they go with the folder.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
    ):
        own = {**environ, **dict.fromkeys(TEMPORARY, scratch)}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace", env=own, cwd=cwd, **GROUP
        ) as process:

            def stop() -> None:
                late.set()
                end(process)

            timer = threading.Timer(limit, stop)
            timer.start()
            try:
                assert process.stdout is not None
                yield from process.stdout
                process.wait()
            finally:
                timer.cancel()
                end(process)
        if late.is_set():
            raise StoppedError(f"stopped after {limit:.0f} s")
        if process.returncode != 0:
            errors.seek(0)
            said = " ".join(errors.read()[-TAIL:].split())
            raise StoppedError(f"exit status {process.returncode}: {said}")


@contextlib.contextmanager
def beside(commands: Iterable[Sequence[str]]) -> Iterator[None]:
    """Let processes run while the block does, and end them with it."""
    with contextlib.ExitStack() as stack:
        for command in commands:
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, **GROUP)
            )
            stack.callback(end, process)
        yield


def end(process: subprocess.Popen[str]) -> None:
    """End a process with its children, if it still runs."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is not None:
            return
        if os.name == "nt":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
