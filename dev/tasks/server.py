"""Start the real ComfyUI server as a child process, and end it whatever happens."""

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


# For the miniature: its layers are so small that threads wait for each other longer than they work. On a machine that
# is busy with other things a picture takes 4 s with one thread, and 35 s with two.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ServerError(RuntimeError):
    """The server didn't start, or ended by itself."""


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
        # Both would otherwise lie in ComfyUI's own folder, or open a window.
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
            ServerError: when it ends, or doesn't answer in time; shows the end of its log.
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
        """End the server: politely first, so that it cleans up its temporary files."""
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
        """Tell whether the server is up."""
        try:
            return "system" in self.get("/system_stats")
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def get(self, path: str) -> dict[str, object]:
        """Return the JSON object that the server has at a path."""
        # A proxy set for the outside world must not be asked for this machine.
        with build_opener(ProxyHandler({})).open(self.url + path, timeout=30) as response:
            answer: dict[str, object] = json.load(response)
        return answer

    def require_alive(self) -> None:
        """Raise ServerError when the server has ended."""
        if self.process is None:
            return
        try:
            # A connection breaks a moment before its process can be seen to have ended.
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
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def device_arguments() -> list[str]:
    """Return main.py's arguments for this machine: --cpu where torch sees no accelerator."""
    import torch

    usable = torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available()
    return [] if usable else ["--cpu"]
