"""Everything that is run in this project: `python3 run.py <session>`, or `nox -s <session>` where nox is installed.

The sessions share one environment of about 5 GB, which `tasks/setup.py` makes, checks and repairs; nox itself would
make one for each.
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
# Python keeps what it compiles here, and writes nothing beside the sources, ComfyUI's neither. Kept nowhere, as many
# containers have it, each start of ComfyUI would compile thousands of files again: two fifths of its time.
BYTECODE = ROOT / ".comfyui" / "bytecode"
KEEP_BYTECODE = {"PYTHONPYCACHEPREFIX": str(BYTECODE), "PYTHONDONTWRITEBYTECODE": None}
# Each process runs whole files of tests. One more than cores, since some wait for a server or a browser; more than
# four would want too much memory.
PROCESSES = min(4, (os.cpu_count() or 1) + 1)
SIDE_BY_SIDE = ("-n", str(PROCESSES), "--dist", "loadfile", "--no-loadscope-reorder")
# The quick selection has no servers or browsers to wait for.
QUICK = ("-n", str(min(4, os.cpu_count() or 1)), *SIDE_BY_SIDE[2:])
# Ctrl-C must leave a running server the time to end.
PATIENCE = 30.0
# The tests that run with the oldest ComfyUI too: where the pack meets it. `tests-oldest` runs all of them.
SEAMS = (
    "areas", "base_check", "contract", "contract_changes", "control", "isolation", "loader", "masks", "memory",
    "newer_hosts", "nodes", "packing", "parity", "roles", "sizes", "stack", "style", "weights",
)  # fmt: skip
# Of each that runs for several families, the one where the middle block is patched too, which is what 0.20.1 brought.
MIDDLE_TOO = "SDXL or not SD"


@nox.session
def demo(session: nox.Session) -> None:
    """Draw pictures with the real ComfyUI, without and with an adapter."""
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
    """Run ruff and every test, mypy among them; first, some inside the oldest ComfyUI too, unless arguments follow.

    `-- --quick` runs the quick selection, side by side. All other arguments go to pytest as they are.
    """
    quick = "--quick" in session.posargs
    place = set_up(session, *([] if session.posargs else ["--oldest"]))
    # Of the temporary files of earlier tests.
    shutil.rmtree(BYTECODE.joinpath(*Path(tempfile.gettempdir()).absolute().parts[1:]), ignore_errors=True)
    troubles = []  # told at the end: one run shows everything that is wrong
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
    """Run the tests inside ComfyUI with the oldest one that the pack works with."""
    run_oldest(session, set_up(session, "--oldest"), *(session.posargs or [*SIDE_BY_SIDE, "tests/host"]))


@nox.session(name="tests-frontend")
def tests_frontend(session: nox.Session) -> None:
    """Run the browser's tests with the newest frontend that the pack was seen to work with."""
    place = set_up(session, "--frontend")
    run(session, place, script(place, "pytest"), *(session.posargs or ["tests/browser"]))


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz every parser, ten minutes each, and attack at length: `python3 run.py fuzz -- --minutes 1 pose` for less."""
    launch(session, set_up(session), "dev.tasks.fuzz", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Measure what the tests catch: docs/testing.md."""
    launch(session, set_up(session), "dev.tasks.mutants", *session.posargs)


@nox.session
def registry(session: nox.Session) -> None:
    """Check what would be published, with the registry's own tool."""
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
    """Measure, and write benchmarks/RESULTS.md."""
    launch(session, set_up(session), "dev.benchmarks.main", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """Check and measure on a card, in ten minutes; `-- --device cpu` shows that all of it runs, at small sizes."""
    launch(session, set_up(session), "dev.benchmarks.gpu.main", *session.posargs)


@nox.session
def fidelity(session: nox.Session) -> None:
    """Measure how well adapters are obeyed, and write docs/fidelity.md."""
    launch(session, set_up(session), "dev.benchmarks.fidelity.main", *session.posargs)


@nox.session
def miniature(session: nox.Session) -> None:
    """Train, measure or show the tiny model: `python3 run.py miniature -- train`."""
    place = set_up(session)
    run(session, place, place["python"], str(ROOT / "dev" / "miniature"), *session.posargs)


def set_up(session: nox.Session, *options: str) -> dict[str, str]:
    """Make sure of ComfyUI and the environment; return where they are."""
    session.chdir(ROOT)  # nox starts in this file's folder
    session.run(sys.executable, str(LAUNCH), "dev.tasks.setup", *options, env=KEEP_BYTECODE, external=True, log=False)
    place: dict[str, str] = json.loads((ROOT / ".comfyui" / "setup.json").read_text(encoding="utf-8"))
    return place


def check(session: nox.Session, place: dict[str, str]) -> None:
    """Run ruff on everything. mypy keeps one core busy, so a test runs it (tests/dev/tasks/test_types.py)."""
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
    """Run a command with the paths of ComfyUI and, where another than its own was got, of the frontend."""
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
