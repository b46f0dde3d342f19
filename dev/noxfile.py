"""The project's commands: `python3 run.py <session>`, or `nox -s <session>` if nox is installed.

All sessions share one environment of about 5 GB, which `tasks/setup.py` creates, checks and repairs. nox itself would
create one per session.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "none"
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).absolute().parents[1]
LAUNCH = ROOT / "dev" / "tasks" / "launch.py"
# Python writes its bytecode here, not beside our or ComfyUI's sources. Without stored bytecode, the default in many
# containers, each start of ComfyUI would compile thousands of files again, which takes two fifths of its time.
BYTECODE = ROOT / ".comfyui" / "bytecode"
KEEP_BYTECODE = {"PYTHONPYCACHEPREFIX": str(BYTECODE), "PYTHONDONTWRITEBYTECODE": None}
# Each process runs whole test files. One process more than cores, since some wait for a server or a browser; more
# than four would need too much memory.
PROCESSES = min(4, (os.cpu_count() or 1) + 1)
SIDE_BY_SIDE = ("-n", str(PROCESSES), "--dist", "loadfile", "--no-loadscope-reorder")
# The quick selection has no servers or browsers to wait for.
QUICK = ("-n", str(min(4, os.cpu_count() or 1)), *SIDE_BY_SIDE[2:])
# Seconds that a running server has to stop after Ctrl-C.
PATIENCE = 30.0
# Tests that `tests` also runs with the oldest ComfyUI: those of the pack's interface to it. `tests-oldest` runs all.
SEAMS = (
    "areas", "base_check", "contract", "contract_changes", "control", "isolation", "loader", "masks", "memory",
    "newer_hosts", "nodes", "packing", "parity", "roles", "sizes", "stack", "style", "weights",
)  # fmt: skip
# Of tests that run for several families, only SDXL: its middle block is patched too, which 0.20.1 made possible.
MIDDLE_TOO = "SDXL or not SD"


@nox.session
def demo(session: nox.Session) -> None:
    """Generate pictures in the real ComfyUI, without and with an adapter."""
    launch(session, set_up(session), "dev.demo.main", *session.posargs)


@nox.session
def gallery(session: nox.Session) -> None:
    """Draw the contact sheets of docs/."""
    place = set_up(session)
    launch(session, place, "dev.demo.gallery", *session.posargs)
    launch(session, place, "dev.figures.sheet_annotators")
    launch(session, place, "dev.figures.help_pictures")


@nox.session
def templates(session: nox.Session) -> None:
    """Tidy the example workflows after an edit, and draw their thumbnails."""
    launch(session, set_up(session), "dev.demo.templates.main", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run ruff and all tests, including mypy; unless arguments follow, run some with the oldest ComfyUI first.

    `-- --quick` runs the quick selection, side by side. All other arguments go to pytest as they are.
    """
    quick = "--quick" in session.posargs
    place = set_up(session, *([] if session.posargs else ["--oldest"]))
    # Bytecode of earlier tests' temporary files.
    shutil.rmtree(BYTECODE.joinpath(*Path(tempfile.gettempdir()).absolute().parts[1:]), ignore_errors=True)
    troubles = []  # reported at the end, so that one run shows all failures
    try:
        check(session, place)
    except CommandFailed:
        troubles.append("ruff")
    if not session.posargs:
        try:
            seams = (f"tests/host/test_{name}.py" for name in SEAMS)
            run_oldest(session, place, *QUICK, "--quick", "-k", MIDDLE_TOO, *seams)
        except CommandFailed:
            troubles.append("a test with the oldest ComfyUI")
    if not quick:
        launch(session, place, "dev.tasks.browser")
    side_by_side = QUICK if quick else () if session.posargs else SIDE_BY_SIDE
    run(session, place, script(place, "pytest"), *side_by_side, *session.posargs)
    if troubles:
        session.error(f"{' and '.join(troubles)} failed, see above pytest's last output")


@nox.session(name="tests-oldest")
def tests_oldest(session: nox.Session) -> None:
    """Run the tests inside the oldest supported ComfyUI."""
    run_oldest(session, set_up(session, "--oldest"), *(session.posargs or [*SIDE_BY_SIDE, "tests/host"]))


@nox.session(name="tests-frontend")
def tests_frontend(session: nox.Session) -> None:
    """Run the browser tests with the newest frontend that the pack was tested with."""
    place = set_up(session, "--frontend")
    run(session, place, script(place, "pytest"), *(session.posargs or ["tests/browser"]))


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz every parser for ten minutes, then run the long attacks: `python3 run.py fuzz -- --minutes 1 pose`."""
    launch(session, set_up(session), "dev.tasks.fuzz", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Measure what the tests catch: docs/testing.md."""
    launch(session, set_up(session), "dev.tasks.mutants", *session.posargs)


@nox.session
def registry(session: nox.Session) -> None:
    """Validate the archive to publish with the registry's own tool."""
    session.chdir(ROOT)
    launcher = (sys.executable, str(LAUNCH), "dev.tasks.registry")
    session.run(*launcher, *session.posargs, env=KEEP_BYTECODE, external=True, log=False)


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff and mypy."""
    place = set_up(session)
    check(session, place)
    launch(session, place, "dev.tasks.typecheck")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Run the benchmarks and write benchmarks/RESULTS.md."""
    launch(session, set_up(session), "dev.benchmarks.main", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """Test and benchmark on a GPU in ten minutes; `-- --device cpu` runs the same code at small sizes."""
    launch(session, set_up(session), "dev.benchmarks.gpu.main", *session.posargs)


@nox.session
def fidelity(session: nox.Session) -> None:
    """Measure how well pictures follow their conditions, and write docs/fidelity.md."""
    launch(session, set_up(session), "dev.benchmarks.fidelity.main", *session.posargs)


@nox.session
def miniature(session: nox.Session) -> None:
    """Train, measure or show the tiny model: `python3 run.py miniature -- train`."""
    place = set_up(session)
    run(session, place, place["python"], str(ROOT / "dev" / "miniature"), *session.posargs)


def set_up(session: nox.Session, *options: str) -> dict[str, str]:
    """Install ComfyUI and the environment if needed; return their paths."""
    session.chdir(ROOT)  # nox starts in this file's folder
    session.run(sys.executable, str(LAUNCH), "dev.tasks.setup", *options, env=KEEP_BYTECODE, external=True, log=False)
    place: dict[str, str] = json.loads((ROOT / ".comfyui" / "setup.json").read_text(encoding="utf-8"))
    return place


def check(session: nox.Session, place: dict[str, str]) -> None:
    """Run ruff on everything. mypy is slow, so it runs beside other tests (tests/dev/tasks/test_types.py)."""
    run(session, place, script(place, "ruff"), "check", ".")
    run(session, place, script(place, "ruff"), "format", "--check", ".")


def script(place: dict[str, str], name: str) -> str:
    """Return the path of a command in the environment. `python -m` would put the root on sys.path."""
    folder = Path(place["python"]).parent
    return str(folder / (f"{name}.exe" if os.name == "nt" else name))


def launch(session: nox.Session, place: dict[str, str], module: str, *arguments: str) -> None:
    """Run a module of this tree in the environment."""
    run(session, place, place["python"], str(LAUNCH), module, *arguments)


def run_oldest(session: nox.Session, place: dict[str, str], *arguments: str) -> None:
    """Run tests with the oldest ComfyUI."""
    run(session, {**place, "comfyui": place["oldest"]}, script(place, "pytest"), *arguments)


def run(session: nox.Session, place: dict[str, str], *command: str) -> None:
    """Run a command with ComfyUI's path in its environment, and the path of a newer frontend if there is one."""
    frontend = {"T2I_FRONTEND": place["frontend"]} if "frontend" in place else {}
    session.run(
        *command,
        # A PYTHONPATH with this checkout in it would let our nodes/ shadow ComfyUI's nodes.py.
        env={"COMFYUI_PATH": place["comfyui"], "PYTHONPATH": None, **KEEP_BYTECODE, **frontend},
        external=True,
        log=False,
        interrupt_timeout=PATIENCE,
        terminate_timeout=PATIENCE,
    )
