"""Start the real ComfyUI server as a child process, and always stop it."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from urllib.request import ProxyHandler, build_opener

from . import base_directory, frontend

READY_WITHIN = 300.0
END_WITHIN = 15.0
TAIL_LINES = 30


# For the miniature: its layers are so small that threads wait for each other longer than they compute. On a busy
# machine, a picture takes 4 s with one thread and 35 s with two.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ServerError(RuntimeError):
    """The server did not start, or exited."""


class ComfyServer:
    """A running ComfyUI server; a context manager.

    Args:
        comfyui: ComfyUI's folder.
        base: a base directory (see `base_directory.prepare`); the log is kept there.
        arguments: more arguments for ComfyUI's main.py.
        environ: environment variables to set for it.
    """

    def __init__(
        self, comfyui: Path, base: Path, arguments: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = base / "comfyui.log"
        self.command = [sys.executable, str(comfyui / "main.py"), "--port", str(self.port)]
        self.command += ["--base-directory", str(base)]
        self.command += ["--extra-model-paths-config", str(base_directory.extra_models(base))]
        # Otherwise ComfyUI would write into its own folder, or open a window.
        self.command += ["--database-url", "sqlite:///:memory:", "--disable-auto-launch"]
        self.command += ["--disable-api-nodes", *arguments]
        self.base = base
        self.environ = {**os.environ, **(environ or {})}
        self.command += frontend.arguments(self.environ)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "ComfyServer":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, waiting: Callable[[float], None] | None = None) -> None:
        """Start the server and wait until it answers.

        Args:
            waiting: called a few times a second with the seconds since the start.

        Raises:
            ServerError: It exits or does not answer in time; the message has the end of its log.
        """
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.base,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        started = time.monotonic()
        try:
            while not self.answers():
                elapsed = time.monotonic() - started
                self.require_alive()
                if elapsed > READY_WITHIN:
                    raise ServerError(self.complaint(f"no answer after {elapsed:.0f} s", "one on " + self.url))
                if waiting:
                    waiting(elapsed)
                time.sleep(0.2)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server: first by a signal that lets it delete its temporary files."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def answers(self) -> bool:
        """Return whether the server answers."""
        try:
            return "system" in self.get("/system_stats")
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def get(self, path: str) -> dict[str, object]:
        """Return the JSON object at a path of the server."""
        # A proxy for the internet must not be used for this machine.
        with build_opener(ProxyHandler({})).open(self.url + path, timeout=30) as response:
            answer: dict[str, object] = json.load(response)
        return answer

    def require_alive(self) -> None:
        """Raise ServerError if the server has exited."""
        if self.process is None:
            return
        try:
            # The connection breaks a moment before the process is reported as ended.
            status: int | None = self.process.wait(0.2)
        except subprocess.TimeoutExpired:
            status = None
        if status is not None:
            raise ServerError(self.complaint(f"exit status {status}", "it to keep running"))

    def complaint(self, got: str, expected: str) -> str:
        """Return an error message that ends with the tail of the server's log."""
        return f"ComfyUI: got {got}; expected {expected}. The end of {self.log}:\n{self.tail()}"

    def tail(self, lines: int = TAIL_LINES) -> str:
        """Return the last lines of the server's log."""
        text = ""
        with contextlib.suppress(OSError):
            text = self.log.read_text(encoding="utf-8", errors="replace")
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
        return "\n".join("  " + line for line in plain.splitlines()[-lines:])


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def device_arguments() -> list[str]:
    """Return main.py's arguments for this machine: --cpu if torch finds no accelerator."""
    import torch

    usable = torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available()
    return [] if usable else ["--cpu"]
