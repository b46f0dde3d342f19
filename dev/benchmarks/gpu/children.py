"""Run processes with a time limit; at the limit, a process and all its children are killed."""

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

# How many characters of a failed process's output an error shows.
TAIL = 300
# Environment variables that set Python's folder for temporary files.
TEMPORARY = ("TMPDIR", "TEMP", "TMP")
# Each process gets its own group, which includes its children.
GROUP: dict[str, Any] = {} if os.name == "nt" else {"start_new_session": True}


class StoppedError(RuntimeError):
    """A process timed out or failed; the message says which."""


def lines(command: Sequence[str], limit: float, environ: Mapping[str, str], cwd: Path | None = None) -> Iterator[str]:
    """Run a process and yield its output line by line.

    Args:
        command: The command.
        limit: Seconds after which the process is killed.
        environ: Its environment.
        cwd: Its working directory.

    Raises:
        StoppedError: It was killed, or failed.
    """
    late = threading.Event()
    limit = max(0.1, limit)
    # A killed process leaves its temporary files; they are deleted with this folder.
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
    """Kill the processes that still run when the block ends."""
    with contextlib.ExitStack() as stack:
        for command in commands:
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, **GROUP)
            )
            stack.callback(end, process)
        yield


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process and its children, if it still runs."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is not None:
            return
        if os.name == "nt":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
