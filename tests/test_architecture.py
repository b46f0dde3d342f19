"""The arrows between our packages, and the bounds on size, enforced by reading the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).absolute().parents[1]
# Package -> the packages it may import. What is not named here (tests, tasks, demo, ...) may import all of them.
ARROWS = {
    "common": set(),
    "adapter_models": {"common"},
    "annotators": {"common"},
    "training": {"common", "adapter_models", "annotators"},
    "nodes": {"common", "adapter_models", "annotators", "training"},
    "cli": {"common", "adapter_models", "annotators", "training", "nodes"},
}
HOST = "nodes/host/"
# What makes ComfyUI a library of a process must choose its device before anything of it looks for one.
STARTER = ("cli/comfyui.py", "comfy.cli_args")
# ComfyUI's own top-level modules. comfy_api is its public face, and allowed under nodes/ and in the root.
COMFY = {
    *("app", "comfy", "comfy_api_nodes", "comfy_config", "comfy_execution", "comfy_extras", "cuda_malloc"),
    *("execution", "folder_paths", "latent_preview", "main", "node_helpers", "protocol", "server"),
}
LONGEST_FUNCTION = 45
LONGEST_FILE = 400


def library_files() -> list[str]:
    """Return the paths of the published Python files, relative to the root."""
    found = [path for package in ARROWS for path in (ROOT / package).rglob("*.py")]
    return [path.relative_to(ROOT).as_posix() for path in [*found, ROOT / "__init__.py"] if path.is_file()]


def violations(path: str, source: str) -> list[str]:
    """Return what a published file does that it must not do, one line each.

    Args:
        path: the file's path relative to the root, with forward slashes.
        source: its text.
    """
    tree = ast.parse(source)
    found = [*wrong_imports(path, tree), *wrong_statements(path, tree)]
    if source.count("\n") > LONGEST_FILE:
        found.append(f"{path}: got {source.count(chr(10))} lines; expected at most {LONGEST_FILE}")
    return found


def wrong_imports(path: str, tree: ast.AST) -> Iterator[str]:
    """Yield the imports that go against the arrows."""
    owner = PurePosixPath(path).parts[0] if "/" in path else ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = []
            yield from wrong_relative(path, owner, node)
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if reason := refuse_absolute(path, owner, name):
                yield f"{path}:{node.lineno}: imports {name}: {reason}"


def refuse_absolute(path: str, owner: str, name: str) -> str:
    """Return why a file must not import this module, or nothing."""
    top = name.split(".", maxsplit=1)[0]
    if top in ARROWS or top in {"tests", "dev"}:
        return "our own packages are imported relatively, because the root is never on sys.path"
    if top in COMFY and not path.startswith(HOST) and (path, name) != STARTER:
        return f"only {HOST} touches ComfyUI's modules"
    if top == "comfy_api" and owner not in {"nodes", ""}:
        return "comfy_api is for nodes/ and the root"
    return ""


def wrong_relative(path: str, owner: str, node: ast.ImportFrom) -> Iterator[str]:
    """Yield a complaint for each relative import that the arrows forbid."""
    folder = PurePosixPath(path).parent.parts
    above = folder[: len(folder) - (node.level - 1)]
    if node.level - 1 > len(folder):
        yield f"{path}:{node.lineno}: goes above the root"
        return
    names = [node.module] if node.module else [alias.name for alias in node.names]
    for name in names:
        target = (*above, *name.split("."))[0]
        if target not in ({"nodes"} if owner == "" else {owner, *ARROWS[owner]}):
            yield f"{path}:{node.lineno}: imports {target}: {owner or 'the root'} must not know it"


def wrong_statements(path: str, tree: ast.AST) -> Iterator[str]:
    """Yield broad excepts, prints and long functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and is_broad(node.type):
            yield f"{path}:{node.lineno}: a broad except hides errors; name the exceptions"
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            yield f"{path}:{node.lineno}: prints; use logging"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines; expected at most {LONGEST_FUNCTION}"


def is_broad(kind: ast.expr | None) -> bool:
    """Tell whether an except clause catches everything."""
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(each is None or getattr(each, "id", "") in {"Exception", "BaseException"} for each in kinds)


def test_the_library_keeps_the_architecture():
    found = [line for path in library_files() for line in violations(path, (ROOT / path).read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


def test_every_package_of_the_library_is_read():
    assert {path.split("/")[0] for path in library_files()} >= {"__init__.py", "common", "adapter_models", "nodes"}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("adapter_models/a.py", "from ..annotators import canny"),
        ("adapter_models/a.py", "from ..nodes import host"),
        ("adapter_models/a.py", "from .. import training"),
        ("adapter_models/deep/a.py", "from ...nodes.host import x"),
        ("adapter_models/a.py", "import comfy.ops"),
        ("adapter_models/a.py", "def f():\n    from comfy_api.latest import io"),
        ("adapter_models/a.py", "from ... import outside"),
        ("annotators/a.py", "from ..adapter_models.hint import fit"),
        ("annotators/a.py", "from ..training import loop"),
        ("common/a.py", "from ..adapter_models import errors"),
        ("common/a.py", "from ..annotators.errors import AnnotatorError"),
        ("common/a.py", "import folder_paths"),
        ("training/a.py", "from ..nodes import train"),
        ("nodes/load.py", "import folder_paths"),
        ("nodes/hosts.py", "import folder_paths"),
        ("nodes/load.py", "from comfy_extras import nodes_mask"),
        ("nodes/load.py", "from nodes import common_ksampler"),
        ("nodes/load.py", "import adapter_models"),
        ("nodes/load.py", "from ..dev.tasks import server"),
        ("nodes/load.py", "from ..cli import options"),
        ("training/a.py", "from ..cli import options"),
        ("cli/run.py", "from ..dev.tasks import locate"),
        ("cli/run.py", "import comfy.sd"),
        ("cli/run.py", "from comfy.cli_args import args"),
        ("cli/comfyui.py", "import comfy.sd"),
        ("cli/run.py", "from comfy_api.latest import io"),
        ("__init__.py", "import comfy.sd"),
        ("__init__.py", "from .adapter_models import networks"),
        ("nodes/load.py", "try:\n    x = 1\nexcept Exception:\n    x = 2"),
        ("nodes/load.py", "try:\n    x = 1\nexcept:\n    x = 2"),
        ("nodes/load.py", "try:\n    x = 1\nexcept (ValueError, BaseException):\n    x = 2"),
        ("nodes/load.py", "print('loaded')"),
        ("nodes/load.py", "def f():\n" + "    x = 1\n" * 45),
        ("nodes/load.py", "x = 1\n" * 401),
    ],
)
def test_a_violation_is_found(path, source):
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("adapter_models/a.py", "import torch\nfrom . import hint\nfrom .errors import AdapterError"),
        ("adapter_models/deep/a.py", "from ..errors import AdapterError"),
        ("adapter_models/a.py", "from ..common.errors import PackError"),
        ("annotators/a.py", "from ..common import checks"),
        ("nodes/host/a.py", "from ...common import errors"),
        ("training/a.py", "from ..adapter_models import networks\nfrom .. import annotators"),
        ("nodes/load.py", "from comfy_api.latest import io\nfrom ..adapter_models import formats\nfrom . import host"),
        ("cli/run.py", "from ..nodes import host\nfrom ..training import loop\nfrom . import options"),
        ("cli/comfyui.py", "from comfy.cli_args import args"),
        ("nodes/host/a.py", "import comfy.ops\nimport folder_paths\nfrom ...adapter_models import errors"),
        ("__init__.py", "def f():\n    from .nodes import extension\n    from comfy_api.latest import io"),
        ("nodes/load.py", "try:\n    x = 1\nexcept (ValueError, OSError):\n    x = 2"),
        ("nodes/load.py", "def f():\n" + "    x = 1\n" * 44),
    ],
)
def test_what_is_allowed_passes(path, source):
    assert violations(path, source) == []


def test_the_root_is_not_on_the_path():
    here = {str(ROOT), str(ROOT.resolve())}
    assert not [entry for entry in sys.path if str(Path(entry or ".").absolute()) in here]


def test_importing_the_root_loads_neither_torch_nor_comfyui():
    code = (
        "import importlib.util as u, sys\n"
        "spec = u.spec_from_file_location('pack', sys.argv[1], submodule_search_locations=[sys.argv[2]])\n"
        "module = u.module_from_spec(spec); sys.modules['pack'] = module; spec.loader.exec_module(module)\n"
        "assert callable(module.comfy_entrypoint)\n"
        "loaded = {name.split('.')[0] for name in sys.modules} & {'torch', 'comfy', 'comfy_api', 'nodes'}\n"
        "assert not loaded, loaded"
    )
    command = [sys.executable, "-I", "-c", code, str(ROOT / "__init__.py"), str(ROOT)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_no_requirements_file_for_the_manager_to_install():
    assert not (ROOT / "requirements.txt").exists()
