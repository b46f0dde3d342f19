"""Every public name is defined once in what ships: a name alone says what is meant."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]
SHIPPED = ("common", "adapter_models", "annotators", "training", "nodes", "cli")


def public_names(source: str) -> Iterator[str]:
    """Yield the public names that a module defines at its top."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found = [statement.name]
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            found = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        else:
            continue
        yield from (name for name in found if not name.startswith("_"))


def repeated(sources: dict[str, str]) -> dict[str, list[str]]:
    """Return the names that several modules define, with those modules.

    Args:
        sources: source by path.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    for path, source in sources.items():
        for name in public_names(source):
            owners[name].add(path)
    return {name: sorted(paths) for name, paths in sorted(owners.items()) if len(paths) > 1}


def test_every_public_name_is_defined_once() -> None:
    paths = [path for folder in SHIPPED for path in (ROOT / folder).rglob("*.py")]
    sources = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    assert repeated(sources) == {}


def test_a_repeated_name_is_found() -> None:
    sources = {
        "a.py": "def load(): ...\nLIMIT: int = 1\nA, B = 1, 2\n_private = 1",
        "b.py": "class load: ...\nLIMIT = 2\nB = 1\n_private = 1\ndef other():\n    A = 1",
    }
    assert repeated(sources) == {name: ["a.py", "b.py"] for name in ("B", "LIMIT", "load")}
