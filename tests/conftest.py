"""How the tests reach the pack, the miniature and ComfyUI.

- `from t2i_adapter_pack.adapter_models import networks`: the checkout as a package of a fixed name, whatever its folder
  is called. `t2i_adapter_miniature` is miniature/ in the same way. Neither puts the checkout on sys.path.
- fixture `comfyui`: the real ComfyUI in this process. After it, `import comfy.sd` and `import folder_paths` work.
- fixture `comfy_server`: the real ComfyUI as a server, with the pack, the companion and the miniature's weights.

The test command runs files side by side, in some processes at once; each has its own fixtures.
With --quick, a rule leaves out most of them: see quick.py.
A test that skips fails: what can't run here must say so through a marker (see NEEDS), which is counted.
A test that reaches for the network fails, in whatever process: see loopback/sitecustomize.py.
"""

import gc
import importlib
import importlib.util
import json
import os
import sys
import types
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import quick

ROOT = Path(__file__).absolute().parents[1]
PROCESSES = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
if PROCESSES:  # before torch is imported: the cores are shared
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(PROCESSES))))
# One process runs all of these: a second browser at the same time would make both slow.
TOGETHER = ("tests/browser",)
PACK = "t2i_adapter_pack"
MINIATURE = "t2i_adapter_miniature"


@dataclass(frozen=True)
class Feature:
    """A part of ComfyUI that the oldest one lacks; tests of it are marked ``needs(name)``.

    Args:
        name: what to call it.
        since: the oldest version in which it is known to be.
        part: what it is in ComfyUI.
    """

    name: str
    since: str
    part: str


FEATURES = (
    Feature("split over devices", "0.30.0", "comfy_extras/nodes_multigpu.py, and ControlBase.deepclone_multigpu"),
    Feature("causal windows", "0.30.0", "the input causal_window_fix of ContextWindowsManual"),
)


def load_package(name: str, folder: Path) -> types.ModuleType:
    """Load a folder as a package under a name of our choice."""
    init = folder / "__init__.py"
    if init.is_file():
        spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[str(folder)])
        package = importlib.util.module_from_spec(spec)
        sys.modules[name] = package
        spec.loader.exec_module(package)
    else:
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return package


load_package(PACK, ROOT)
load_package(MINIATURE, ROOT / "dev" / "miniature")


@pytest.fixture(scope="session", autouse=True)
def refused_connections(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep this process, and each Python that it starts, on this machine; the file of what was refused."""
    hook = ROOT / "tests" / "loopback" / "sitecustomize.py"
    spec = importlib.util.spec_from_file_location("t2i_loopback", hook)
    loopback = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loopback)
    refused = tmp_path_factory.mktemp("network") / "refused.txt"
    refused.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(loopback.REFUSED, str(refused))
        patch.setenv("PYTHONPATH", str(hook.parent))
        yield refused


@pytest.fixture(autouse=True)
def stays_on_this_machine(refused_connections: Path) -> Iterator[None]:
    """Fail a test during which anything reached for the network, even where the error was swallowed."""
    before = len(refused_connections.read_bytes())
    yield
    attempts = refused_connections.read_bytes()[before:].decode("utf-8", "replace")
    assert not attempts, attempts


@dataclass(frozen=True)
class ComfyUI:
    """The real ComfyUI in this process.

    Args:
        path: its folder.
        base: its base directory, with models/, input/ and output/ of this test session.
    """

    path: Path
    base: Path


@pytest.fixture(scope="session")
def comfyui_path() -> Path:
    """ComfyUI's folder, as the test command found it."""
    return find_comfyui()


def find_comfyui() -> Path:
    """Return ComfyUI's folder, as the test command found it."""
    named = os.environ.get("COMFYUI_PATH")
    if not named:
        setup = ROOT / ".comfyui" / "setup.json"
        if not setup.is_file():
            pytest.fail("ComfyUI: got neither COMFYUI_PATH nor a setup; expected one. Use `python3 run.py tests`.")
        named = json.loads(setup.read_text(encoding="utf-8"))["comfyui"]
    return Path(named)


@pytest.fixture(scope="session")
def base_directory(comfyui_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh base directory: nothing of an earlier run, of the demo or of the user is in it."""
    from t2i_adapter_pack.dev.tasks import base_directory

    return base_directory.prepare(tmp_path_factory.mktemp("comfyui") / "base", comfyui_path)


@pytest.fixture(scope="session")
def comfyui(comfyui_path: Path, base_directory: Path) -> ComfyUI:
    """The real ComfyUI, importable in this process with the flags of T2I_COMFYUI_FLAGS; on the CPU without a GPU."""
    import torch
    from t2i_adapter_pack.dev.tasks import in_process

    cpu = not torch.cuda.is_available()
    device = in_process.start(comfyui_path, base_directory, in_process.chosen_flags(), cpu=cpu)
    assert device.type == ("cpu" if cpu else "cuda")
    # What ComfyUI and its libraries are made of never goes: a collection looks at the rest in a quarter of the time.
    gc.collect()
    gc.freeze()
    return ComfyUI(comfyui_path, base_directory)


@pytest.fixture(scope="session")
def comfy_server(comfyui_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running ComfyUI server: `.url`, `.base`, `.log`, `.get(path)`; queue workflows with `dev.tasks.client.run`."""
    from t2i_adapter_pack.dev.tasks import base_directory, in_process, server

    base = base_directory.prepare(tmp_path_factory.mktemp("server") / "base", comfyui_path)
    device = server.device_arguments()
    # Flags about a card's memory exclude --cpu, with which they would do nothing.
    arguments = device or in_process.chosen_flags()
    # No weights of other programs on this machine.
    alone = {"HF_HOME": str(base / "hub"), "HF_HUB_CACHE": "", "AUX_ANNOTATOR_CKPTS_PATH": ""}
    environ = {**server.ONE_THREAD, **alone}
    with server.ComfyServer(comfyui_path, base, arguments, environ) as running:
        yield running


def missing_gpu() -> str | None:
    """Say what is missing for tests on a GPU, or None."""
    import torch

    return None if torch.cuda.is_available() else "gpu: got no CUDA device; expected one. Tests on it are left out."


def missing_devices() -> str | None:
    """Say what is missing for tests on two devices, or None. Without a GPU ``cpu`` and ``cpu:0`` are two."""
    import torch

    if torch.cuda.device_count() != 1:
        return None
    return "devices: got one GPU; expected two, or none. Tests that split work between two are left out."


def missing_browser() -> str | None:
    """Say what is missing for tests of ComfyUI's page, or None."""
    from t2i_adapter_pack.dev.tasks import browser

    return None if browser.find(os.environ) else browser.ADVICE


def missing_signals() -> str | None:
    """Say what is missing for tests that end a process by a signal, or None."""
    return "signals: got Windows, where a process is ended in other ways; expected POSIX." if os.name == "nt" else None


def missing_wish(config: pytest.Config) -> str | None:
    """Say why tests of the workshop are left out, or None if their folder is named on the command line."""
    workshop = ROOT / "tests" / "dev"
    named = (Path(config.invocation_params.dir, argument.split("::", 1)[0]) for argument in config.args)
    if any(path.resolve().is_relative_to(workshop.resolve()) for path in named):
        return None
    return "workshop: long tests of benchmarks and of the miniature's training. Name tests/dev to run them."


def missing_feature(name: str) -> str | None:
    """Say what this ComfyUI is too old for, or None."""
    from t2i_adapter_pack.dev.tasks import locate

    feature = next(row for row in FEATURES if row.name == name)
    version = locate.version_of(find_comfyui())
    if version >= locate.numbers(feature.since):
        return None
    return f"this ComfyUI has no {name} ({feature.part})"


def missing_package(name: str) -> str | None:
    """Say which optional package is not installed, or None."""
    if importlib.util.find_spec(name) is not None:
        return None
    return f"package: {name} is not installed, which is optional. Tests of what needs it are left out."


# What can't run everywhere: by its marker, with that marker's arguments, what says why it can't run here.
NEEDS: dict[str, Callable[..., str | None]] = {
    "gpu": missing_gpu,
    "devices": missing_devices,
    "browser": missing_browser,
    "signals": missing_signals,
    "needs": missing_feature,
    "package": missing_package,
}
WORKSHOP = "workshop"
MISSING = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the quick selection."""
    parser.addoption("--quick", action="store_true", help="run the quick selection only: see tests/quick.py")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say that only a part of the tests runs."""
    return f"quick selection: {quick.RULE}" if config.getoption("--quick") else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Don't even import what the quick selection leaves out."""
    return True if config.getoption("--quick") and not quick.belongs(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, and count, what can't run on this machine, and what the quick selection leaves out."""
    left_out: dict[pytest.Item, str] = {}
    if config.getoption("--quick"):
        left_out = dict.fromkeys(set(items) - quick.chosen(items), quick.REASON)
    wanted = {
        (marker.name, marker.args): None for item in items for name in NEEDS for marker in item.iter_markers(name)
    }
    reasons = {need: NEEDS[need[0]](*need[1]) for need in wanted}
    if any(item.get_closest_marker(WORKSHOP) for item in items):
        reasons[WORKSHOP, ()] = missing_wish(config)
    lacking = {need: reason for need, reason in reasons.items() if reason is not None}
    for item in items:
        for need, reason in lacking.items():
            if any(marker.args == need[1] for marker in item.iter_markers(need[0])):
                left_out.setdefault(item, reason)
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))
    config.stash[MISSING] = Counter(left_out.values())
    if hasattr(config, "workerinput"):
        # Of several processes none must be left alone with a long file at the end.
        long = {unit(item.nodeid) for item in items if item.get_closest_marker("slow")} | set(TOGETHER)
        items.sort(key=lambda item: unit(item.nodeid) not in long)


def unit(nodeid: str) -> str:
    """Return what one process runs as a whole: a file, or a folder of TOGETHER."""
    file = nodeid.split("::", 1)[0]
    return next((folder for folder in TOGETHER if file.startswith(f"{folder}/")), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process whole files, in their order: the tests of a file share fixtures."""
    from xdist.scheduler import LoadFileScheduling

    class WholeFiles(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    return WholeFiles(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what was left out from a process of several to the one that reports."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["missing"] = dict(session.config.stash.get(MISSING, {}))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Count what a process left out, once: each has left out the same."""
    missing = Counter(getattr(node, "workeroutput", {}).get("missing", {}))
    if missing and not node.config.stash.get(MISSING, None):
        node.config.stash[MISSING] = missing
        node.config.hook.pytest_deselected(items=[types.SimpleNamespace()] * missing.total())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say why tests were left out."""
    for reason, count in config.stash.get(MISSING, {}).items():
        terminalreporter.write_line(f"{count} deselected: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failure."""
    return refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a skipped file (importorskip at its top) into an error."""
    return refuse_skip((yield))


def refuse_skip(report: Any) -> Any:
    """Mark a report of a skip as failed; leave every other, and expected failures, as they are."""
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"got a skip ({report.longrepr}); expected a result: nothing may be left out silently."
    return report
