"""Fuzz the parsers with atheris, guided by coverage: `python3 run.py fuzz`, a job for the night.

The targets are the property tests of tests/fuzz, so what is found here becomes an example there. libFuzzer ends the
process that it runs in, so each test gets a process of its own.
"""

import argparse
import importlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import paths
from .locate import SetupError

# Installed outside of the environment: it has wheels for Linux only, and only `fuzz` needs it.
ATHERIS = "atheris==3.0.0"
HOME = paths.STATE / "atheris"
CORPUS = paths.STATE / "fuzz"
CHILD = "--one"
# The name of tests/attacks, and the variable that makes them try many more inputs.
ATTACKS, ATTACKS_LONG = "attacks", "T2I_ATTACKS_LONG"
# Seconds that one attack may take.
SLOWEST_ATTACK = 3600
# Limits for one input: seconds and megabytes.
SLOWEST, LARGEST = 60, 4096
# Bytes of an input, and number of initial random inputs: hypothesis can't build a value from too few bytes.
LONGEST_INPUT, FIRST_INPUTS = 8192, 64


@dataclass(frozen=True)
class Parser:
    """Code that parses untrusted input.

    Attributes:
        name: Its name; its tests are in tests/fuzz/test_<name>.py.
        instrumented: Modules whose branches guide the fuzzer.
    """

    name: str
    instrumented: tuple[str, ...]


PACK = "t2i_adapter_pack"
PARSERS = (
    Parser("loader", (f"{PACK}.adapter_models", f"{PACK}.common", "torch._weights_only_unpickler", "zipfile")),
    Parser("hint", (f"{PACK}.adapter_models", f"{PACK}.common")),
    Parser("schedule", (f"{PACK}.adapter_models", f"{PACK}.common")),
    Parser("pose", (f"{PACK}.annotators", "json")),
    Parser("names", (f"{PACK}.training",)),
)


def main(arguments: list[str]) -> int:
    """Fuzz the named parsers, or all; return 1 if one failed."""
    names = [parser.name for parser in PARSERS]
    options = argparse.ArgumentParser(prog="python3 run.py fuzz --", description=main.__doc__)
    options.add_argument("parsers", nargs="*", metavar="parser", help=f"of {', '.join([*names, ATTACKS])}")
    options.add_argument("--minutes", type=float, default=10.0, help="for each parser (default %(default)s)")
    options.add_argument(CHILD, help=argparse.SUPPRESS)
    chosen = options.parse_args(arguments)
    if unknown := set(chosen.parsers) - {*names, ATTACKS}:
        options.error(f"got {', '.join(sorted(unknown))}; expected some of {', '.join([*names, ATTACKS])}")
    rows = [parser for parser in PARSERS if parser.name in (chosen.parsers or names)]
    if chosen.one:
        fuzz(rows[0], chosen.one, chosen.minutes)
    try:
        if rows:
            install()
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    broken = [test for row in rows for test in run(row, chosen.minutes)]
    if ATTACKS in (chosen.parsers or [ATTACKS]) and not attack(chosen.minutes):
        broken.append(ATTACKS)
    print(f"fuzz: {', '.join(broken)} failed, see above" if broken else "fuzz: no failures", flush=True)
    return 1 if broken else 0


def install() -> None:
    """Install atheris if it is missing."""
    if (HOME / "atheris").is_dir():
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(HOME)]
    if subprocess.run([*command, ATHERIS], check=False).returncode != 0:
        raise SetupError(
            f"fuzz: got an error from pip, shown above; expected {ATHERIS} in {HOME}. It has wheels for Linux only: "
            "elsewhere run `python3 run.py tests -- tests/fuzz`."
        )


def tests_of(parser: Parser) -> dict[str, Callable[..., Any]]:
    """Return the names of a parser's property tests."""
    module = importlib.import_module(f"{PACK}.tests.fuzz.test_{parser.name}")
    return {name: test for name, test in vars(module).items() if hasattr(test, "hypothesis")}


def run(parser: Parser, minutes: float) -> list[str]:
    """Run a parser's property tests one after the other; return the names of those that failed."""
    names, broken = list(tests_of(parser)), []
    for name in names:
        print(f"{parser.name}: {name}", flush=True)
        command = [sys.executable, str(paths.TASKS / "launch.py"), "dev.tasks.fuzz", parser.name, CHILD, name]
        command += ["--minutes", str(minutes / len(names))]
        environ = {**os.environ, "PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
        if subprocess.run(command, env=environ, check=False).returncode != 0:
            broken.append(name)
    return broken


def attack(minutes: float) -> bool:
    """Run the long attacks, and one server for this many minutes; return whether all passed."""
    # pytest's usual limit is five minutes per test; the server's test runs as long as requested, and attacks are slow.
    limit = f"--timeout={round(60 * minutes) + SLOWEST_ATTACK}"
    command = [str(Path(sys.executable).parent / "pytest"), limit, "tests/attacks", "tests/server"]
    environ = {**os.environ, ATTACKS_LONG: str(minutes), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environ, cwd=paths.ROOT, check=False).returncode == 0


def fuzz(parser: Parser, name: str, minutes: float) -> None:
    """Fuzz one test until the time is over or it fails; ends the process."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=list(parser.instrumented)):
        test = tests_of(parser)[name]
    corpus = CORPUS / parser.name / name
    sow(corpus)
    limits = {
        "max_total_time": max(1, round(60 * minutes)),
        "max_len": LONGEST_INPUT,
        "len_control": 0,
        "timeout": SLOWEST,
        "rss_limit_mb": LARGEST,
    }
    flags = [f"-{key}={value}" for key, value in limits.items()]
    atheris.Setup([name, str(corpus), f"-artifact_prefix={corpus.parent}{os.sep}", *flags], one_input(test))
    atheris.Fuzz()


def sow(corpus: Path) -> None:
    """Write the initial inputs of a new corpus."""
    corpus.mkdir(parents=True, exist_ok=True)
    if any(corpus.iterdir()):
        return
    rng = random.Random(0)
    for number in range(FIRST_INPUTS):
        content = rng.randbytes(rng.randint(1, LONGEST_INPUT))
        # Zeros, from which hypothesis builds small and simple values, between random bytes.
        sparse = bytes(byte if rng.random() < number / FIRST_INPUTS else 0 for byte in content)
        (corpus / f"first-{number:02}").write_bytes(sparse)


def one_input(test: Callable[..., Any]) -> Callable[[bytes], None]:
    """Return a callback for libFuzzer, which expects no result; hypothesis returns the input that it used."""

    def call(data: bytes) -> None:
        test.hypothesis.fuzz_one_input(data)  # type: ignore[attr-defined]

    return call
