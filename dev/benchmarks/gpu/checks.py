"""The tests that depend on a GPU, run with each of ComfyUI's memory modes."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ...tasks import in_process
from .children import StoppedError, lines

ROOT = Path(__file__).absolute().parents[3]
# Tests of the pack's interface to ComfyUI's tensors and memory.
HOST = tuple(
    f"tests/host/test_{name}.py"
    for name in (
        "areas", "base_check", "combine", "control", "isolation", "masks", "memory", "parity", "precision", "schedules",
        "sizes", "stack", "style", "train", "train_memory", "weights", "windows",
    )
)  # fmt: skip
MEMORY = ("tests/host/test_memory.py", "tests/host/test_precision.py", "tests/host/test_train.py")
COMPILED = ("tests/host/test_compile.py", "tests/host/test_compile_again.py", "tests/gpu/test_inductor.py")
SERVER = ("tests/host/test_train_on_server.py", "tests/host/test_annotators_on_server.py")
CARD = tuple(f"tests/gpu/test_{name}.py" for name in ("flags", "endings", "precisions"))
FLAGS = CARD[:1]
# The tests compare with full float32 sums, and compile with the users' default backend.
EXACT = {"NVIDIA_TF32_OVERRIDE": "0", "T2I_INDUCTOR": "1"}
NO_TESTS = 5  # pytest's exit status


@dataclass(frozen=True)
class Check:
    """Tests with flags of ComfyUI.

    Attributes:
        name: Name of its row.
        flags: Flags of ComfyUI's main.py.
        tests: Test files to run.
        on_cpu: Test files to run instead without a GPU, where the flags have no effect.
        slow: True to include tests marked slow.
    """

    name: str
    flags: tuple[str, ...]
    tests: tuple[str, ...]
    on_cpu: tuple[str, ...] = FLAGS
    slow: bool = False

    def files(self, cpu: bool) -> tuple[str, ...]:
        """Return the test files for this machine."""
        return self.on_cpu if cpu else self.tests


CHECKS = (
    Check("host tests, dynamic VRAM on", ("--enable-dynamic-vram",), (*CARD, *HOST), (*CARD, *HOST)),
    Check("host tests, dynamic VRAM off", ("--disable-dynamic-vram",), (*CARD, *HOST)),
    Check("host tests, --lowvram", ("--disable-dynamic-vram", "--lowvram"), (*CARD, *MEMORY)),
    Check("host tests, --novram", ("--novram",), (*CARD, *MEMORY)),
    Check("TorchCompileModel, inductor", ("--disable-dynamic-vram",), COMPILED, COMPILED, slow=True),
    Check("a server with the miniature", (), SERVER, SERVER, slow=True),
    Check("two devices", (), ("tests/gpu/test_devices.py",), ("tests/gpu/test_devices.py",)),
)
BRIEF = (Check("flags", ("--novram",), FLAGS),)
HEAD = ("check", "flags", "passed", "failed", "left out", "seconds", "holds")


@dataclass(frozen=True)
class Outcome:
    """The result of a check.

    Attributes:
        passed: Number of passed tests.
        failed: Names of failed tests.
        left_out: Number of tests that cannot run here.
        seconds: Duration in seconds.
        trouble: Why the check did not finish, or empty.
    """

    passed: int = 0
    failed: tuple[str, ...] = ()
    left_out: int = 0
    seconds: float = 0.0
    trouble: str = ""

    @property
    def verdict(self) -> str:
        """Return the result as text."""
        if self.failed:
            return "no"
        if self.trouble:
            return f"no: {self.trouble}"
        return "yes" if self.passed else "left out: none of its tests can run here"

    @property
    def bad(self) -> bool:
        """True if a test failed or the check did not finish."""
        return self.verdict.startswith("no")

    def row(self, check: Check) -> tuple[str, ...]:
        """Return the cells of its row."""
        counts = (str(self.passed), str(len(self.failed)), str(self.left_out))
        return (check.name, " ".join(check.flags), *counts, f"{self.seconds:.0f}", self.verdict)


def run(checks: tuple[Check, ...], comfyui: str, *, cpu: bool, limit: float) -> Iterator[tuple[Check, Outcome]]:
    """Run checks in parallel, limited by the number of cores, and yield each result when it ends.

    Args:
        checks: The checks.
        comfyui: ComfyUI's folder.
        cpu: Hide all GPUs.
        limit: Seconds for all checks together.
    """
    cores = os.cpu_count() or 1
    beside = max(1, min(len(checks), cores // 4))
    # The limit is shared: a check that starts later has less time.
    until = time.monotonic() + limit
    with ThreadPoolExecutor(beside) as pool:
        jobs = {pool.submit(_outcome, check, comfyui, cpu, until, cores // beside): check for check in checks}
        for job in as_completed(jobs):
            yield jobs[job], job.result()


def _outcome(check: Check, comfyui: str, cpu: bool, until: float, cores: int) -> Outcome:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder, "answers.xml")
        command = [str(_pytest()), "-q", "-p", "no:cacheprovider", f"--junitxml={answers}", *check.files(cpu)]
        command += [] if check.slow else ["-m", "not slow"]
        command += ["-n", str(min(4, cores)), "--dist", "loadfile"] if cores >= 4 else []
        printed: list[str] = []
        trouble = ""
        try:
            printed.extend(lines(command, until - started, _environ(check, comfyui, cpu), ROOT))
        except StoppedError as stopped:
            trouble = str(stopped)
        seconds = time.monotonic() - started
        if not answers.is_file():
            return Outcome(seconds=seconds, trouble=trouble or "no answers")
        return read(answers.read_text(encoding="utf-8"), "".join(printed), seconds, trouble)


def read(answers: str, printed: str, seconds: float, trouble: str) -> Outcome:
    """Read pytest's results.

    Args:
        answers: Its JUnit file.
        printed: Its output.
        seconds: Duration in seconds.
        trouble: Why it was stopped or failed, or empty.
    """
    cases = list(ElementTree.fromstring(answers).iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    names = tuple(dict.fromkeys(f"{case.get('classname')}::{case.get('name')}" for case in failed))
    out = sum(int(count) for count in re.findall(r"^(\d+) deselected: ", printed, re.MULTILINE))
    if trouble.startswith(f"exit status {NO_TESTS}:") and out:
        trouble = ""  # all tests were deselected
    return Outcome(len(cases) - len(failed), names, out, seconds, trouble)


def _pytest() -> Path:
    """Return the command. `python -m pytest` would put the root on sys.path."""
    return Path(sys.executable).with_name("pytest.exe" if os.name == "nt" else "pytest")


def _environ(check: Check, comfyui: str, cpu: bool) -> dict[str, str]:
    environ = {**os.environ, **EXACT, "COMFYUI_PATH": comfyui, in_process.FLAGS: " ".join(check.flags)}
    environ.pop("PYTHONPATH", None)
    if cpu:
        environ["CUDA_VISIBLE_DEVICES"] = ""
    return environ
