"""The interfaces of ComfyUI that the pack relies on: a call for each row of the table; the table is complete."""

from __future__ import annotations

import ast
import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from t2i_adapter_pack.dev.tasks import locate

from . import contract_parts, contract_runs, contract_transformers  # noqa: F401 - they fill CALLS
from .contract_calls import CALLS

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("output")]
ROOT = Path(__file__).absolute().parents[2]
# Files that use ComfyUI's modules. The rest of nodes/ uses only comfy_api.
TOUCHING = [*sorted((ROOT / "nodes" / "host").glob("*.py")), ROOT / "cli" / "comfyui.py"]
PUBLIC = [path for path in sorted((ROOT / "nodes").rglob("*.py")) if "comfy_api" in path.read_text(encoding="utf-8")]
MILLISECONDS = 5.0


def table() -> tuple[Any, ...]:
    from t2i_adapter_pack.nodes.host import INTERFACES

    return INTERFACES


@pytest.mark.parametrize("path", CALLS)
def test_an_interface_works_as_the_pack_relies_on_it(comfyui_path, path):
    from t2i_adapter_pack.nodes.host.contract import changes_of

    row = next(row for row in table() if row.path == path)
    module, colon, way = path.partition(":")
    depends = f"{path} is needed for: {row.serves}"
    if colon:
        importlib.import_module(module)
        assert changes_of(row) == [], depends
        if row.optional and not exists(module, way):
            # Missing rows are allowed only in an older ComfyUI.
            assert locate.version_of(comfyui_path) < (0, 30, 0), depends
            return
    try:
        CALLS[path]()
    except BaseException as error:
        error.add_note(depends)
        raise


def exists(module: str, way: str) -> bool:
    thing: Any = importlib.import_module(module)
    for step in way.split("."):
        if not hasattr(thing, step.removesuffix("()")):
            return False
        thing = getattr(thing, step.removesuffix("()"))
        thing = thing() if step.endswith("()") else thing
    return True


def test_each_row_has_a_call_and_says_what_depends_on_it():
    paths = [row.path for row in table()]
    assert sorted(paths) == sorted(CALLS)
    assert all(row.serves for row in table())


def used(path: Path) -> Iterator[str]:
    """Yield what a file takes from ComfyUI's modules, as `module:name`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules |= {alias.asname or alias.name: f"{node.module}:{alias.name}" for alias in node.names}
    ours = {
        name: full for name, full in modules.items() if full.startswith(("comfy", "folder_paths", "latent", "serv"))
    }
    yield from (full for full in ours.values() if ":" in full)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner, _, rest = ast.unparse(node).rpartition(".")
            if owner in ours:
                yield f"{ours[owner]}.{rest}" if ":" in ours[owner] else f"{ours[owner]}:{rest}"


def test_the_table_has_everything_that_the_source_uses():
    known = set()
    for row in table():
        module, colon, way = row.path.partition(":")
        steps = way.replace("()", "").split(".")
        known |= {f"{module}:{'.'.join(steps[:count])}" for count in range(1, len(steps) + 1)} if colon else set()
        known |= {f"{module}:{way}.{name.strip()}" for name in row.members.split(",")}
    # Modules, which are imported by name.
    known |= {"comfy_api.latest:ui"}
    found = {use for path in (*TOUCHING, *PUBLIC) for use in used(path)}
    assert len(found) > 60
    assert not found - known


def test_a_start_pays_less_than_five_milliseconds():
    from t2i_adapter_pack.nodes import host

    times = []
    for _ in range(5):
        begun = time.process_time()
        host.warn_of_changes(host.INTERFACES)
        times.append(1000 * (time.process_time() - begun))
    assert min(times) < MILLISECONDS


def test_no_module_is_imported_for_it(monkeypatch):
    import builtins

    from t2i_adapter_pack.nodes import host

    monkeypatch.setattr(builtins, "__import__", lambda name, *_, **__: pytest.fail(f"imports {name}"))
    host.warn_of_changes(host.INTERFACES)
