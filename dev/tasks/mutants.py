"""Measure what the tests catch: put one fault at a time into a copy of the pack, and run the tests that may see it.

    python3 run.py mutants                       # about an hour on one core; prints the table of docs/testing.md
    python3 run.py mutants -- --only nodes/ cli/ # the faults in these files
    python3 run.py mutants -- --narrow           # only the files of tests that a fault names: minutes

The faults are rows of `faults.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from . import paths
from .faults import FAULTS, Fault

PASSED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
# Imported once, and not in each child: tests import them, or ComfyUI does.
LIBRARIES = (
    "aiohttp", "av", "diffusers", "einops", "hypothesis", "numpy", "PIL.Image", "safetensors.torch", "scipy.ndimage",
    "sqlalchemy", "torchaudio", "torchsde", "torchvision.transforms", "transformers.models.clip",
)  # fmt: skip
HEAD = "| file | fault | `--quick` | all | first test that fails |\n| --- | --- | --- | --- | --- |"


class MutantError(RuntimeError):
    """A fault can't be put in, or the tests could not run."""


@dataclass(frozen=True)
class Outcome:
    """What the tests said of a fault.

    Attributes:
        quick: The quick selection catches it; None if it was not asked.
        caught: Some test catches it.
        by: The first test that fails, or an empty text.
    """

    quick: bool | None
    caught: bool
    by: str


def main(arguments: Sequence[str]) -> int:
    """Run the tests with each fault; the exit status is 1 if one survives.

    Raises:
        MutantError: A fault fits no line, or a test fails without it.
    """
    parser = argparse.ArgumentParser(prog="mutants")
    parser.add_argument("--only", nargs="+", default=[""], help="faults whose file or description has one of these")
    parser.add_argument("--no-quick", action="store_true", help="don't try the quick selection first")
    parser.add_argument("--narrow", action="store_true", help="only the tests that each fault names, not its package's")
    parser.add_argument("--tree", type=Path, default=paths.ROOT, help="another checkout to put the faults into")
    options = parser.parse_args(list(arguments))
    faults = [fault for fault in FAULTS if any(text in f"{fault.file} {fault.breaks}" for text in options.only)]
    print(HEAD, flush=True)
    survived = 0
    warm_up()
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(options.tree, Path(folder) / "pack")
        for number, fault in enumerate(faults):
            with planted(tree, fault, number):
                tests = fault.likely if options.narrow else fault.tests
                outcome = tried(tree, tests, quick_first=not options.no_quick)
            if outcome.caught and first_failure(tree, outcome.by):
                raise MutantError(f"{outcome.by}: fails without the fault, too. Mend it first.")
            print(row(fault, outcome), flush=True)
            survived += not outcome.caught
    print(f"\n{len(faults) - survived} of {len(faults)} faults are caught.")
    return int(survived > 0)


def row(fault: Fault, outcome: Outcome) -> str:
    """Return a fault's row of the table."""
    words = {True: "yes", False: "no", None: ""}
    by = f"`{outcome.by.removeprefix('tests/')}`" if outcome.by else ""
    return f"| `{fault.file}` | {fault.breaks} | {words[outcome.quick]} | {words[outcome.caught]} | {by} |"


def copied(source: Path, target: Path) -> Path:
    """Copy the files of a checkout that git tracks, or would."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=source, check=True, capture_output=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
    # Some tests ask git for the files.
    for words in (["init", "-q"], ["add", "--all"]):
        subprocess.run(["git", *words], cwd=target, check=True, capture_output=True)
    return target


def mutated(text: str, fault: Fault) -> str:
    """Return the text of a file with a fault.

    Raises:
        MutantError: Not exactly one line of the file has the fault's text.
    """
    lines = text.splitlines(keepends=True)
    found = [number for number, line in enumerate(lines) if fault.old in line]
    if len(found) != 1:
        raise MutantError(f"{fault.file}: got {len(found)} lines with {fault.old!r}; expected one. Mend faults.py.")
    lines[found[0]] = lines[found[0]].replace(fault.old, fault.new, 1)
    return "".join(lines)


@contextmanager
def planted(tree: Path, fault: Fault, number: int) -> Iterator[None]:
    """Put a fault into a tree for a while."""
    path = tree / fault.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(mutated(whole, fault), encoding="utf-8")
    # Python takes a compiled file for current if the source has its size and its second of change.
    os.utime(path, (2 * number, 2 * number))
    try:
        yield
    finally:
        path.write_text(whole, encoding="utf-8")
        os.utime(path, (2 * number + 1, 2 * number + 1))


def tried(tree: Path, tests: Sequence[str], *, quick_first: bool) -> Outcome:
    """Run tests on a tree with a fault, one file or folder after another: the quick ones, and all if those pass."""
    for options in ([["--quick"]] if quick_first else []) + [[]]:
        for name in tests:
            if (tree / name).exists() and (by := first_failure(tree, *options, name)):
                return Outcome(bool(options) if quick_first else None, True, by)
    return Outcome(False if quick_first else None, False, "")


def first_failure(tree: Path, *arguments: str) -> str:
    """Run pytest in a child until a test fails; return that test, or an empty text.

    Raises:
        MutantError: The tests could not run.
    """
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            status = int(pytest.ExitCode.INTERNAL_ERROR)
            try:
                status = run_pytest(tree, arguments, output.fileno())
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        text = output.read()
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", text, re.MULTILINE)
    if status in PASSED:
        return ""
    if found is None:
        raise MutantError(f"pytest: got exit status {status}; expected tests.\n{text}")
    return found[1].split("[", 1)[0]


def run_pytest(tree: Path, arguments: Sequence[str], output: int) -> int:
    """Run pytest on a tree, in this process, which must end afterwards; return its exit status."""
    for number in (1, 2):
        os.dup2(output, number)
    sys.stdout = sys.stderr = os.fdopen(output, "w", closefd=False)
    os.chdir(tree)
    # The tree's own modules, not those that run this.
    for name in [name for name in sys.modules if name.split(".", 1)[0] == __name__.split(".", 1)[0]]:
        del sys.modules[name]
    quiet = ("-x", "-q", "-rfE", "--no-header", "--tb=line", "-p", "no:cacheprovider", "--durations=1")
    status = int(pytest.main([*quiet, *arguments]))
    sys.stdout.flush()
    return status


def warm_up() -> None:
    """Import what nearly all tests import: children start with it, which saves most of their time."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    torch.set_num_threads(1)
