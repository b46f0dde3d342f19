"""Every error begins with the sentence that a user understands, and a library's names no node."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).absolute().parents[1]
SHIPPED = ("common", "adapter_models", "annotators", "training", "nodes", "cli")
# What makes an error, besides the classes: a library's FileErrors, and the class that a check is given.
MAKERS = ("damaged", "unsafe", "foreign", "error")


def silent(source: str) -> Iterator[int]:
    """Yield the lines that make a PackError without ``says``."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and len(call.args) + len(call.keywords) >= 3:
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if (name.endswith("Error") or name in MAKERS) and "says" not in {each.arg for each in call.keywords}:
                yield call.lineno


@pytest.mark.parametrize(
    "path", [path for folder in SHIPPED for path in sorted((ROOT / folder).rglob("*.py"))], ids=lambda path: path.name
)
def test_every_error_begins_with_a_sentence(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    found = [f"{where}:{line}" for line in silent(path.read_text(encoding="utf-8"))]
    assert found == []


def test_a_silent_error_is_found() -> None:
    assert list(silent("raise AdapterError(where, got, expected, fix)")) == [1]
    assert list(silent("raise errors.damaged(where, got, expected)")) == [1]
    assert list(silent("raise AdapterError(where, got, expected, says='The hint is empty.')")) == []
    assert list(silent("logger.error('text')")) == []


LIBRARIES = ("common", "adapter_models", "annotators", "training")


def display_names() -> list[str]:
    """Return the names of our nodes on the page."""
    texts = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    return [node["display_name"] for node in texts.values()]


def naming(source: str) -> Iterator[int]:
    """Yield the lines with a text that names a node of ours, or speaks of nodes at all."""
    named = re.compile("|".join([*map(re.escape, display_names()), r"\bnodes?\b"]))
    for text in ast.walk(ast.parse(source)):
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and named.search(text.value):
            yield text.lineno


@pytest.mark.parametrize(
    "path", [path for folder in LIBRARIES for path in sorted((ROOT / folder).rglob("*.py"))], ids=lambda path: path.name
)
def test_no_text_of_a_library_names_a_node(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    found = [f"{where}:{line}" for line in naming(path.read_text(encoding="utf-8"))]
    assert found == []


def test_a_named_node_is_found() -> None:
    assert list(naming("fix = 'Connect Load T2I-Adapter.'")) == [1]
    assert list(naming("fix = f'Check the node {name}.'")) == [1]
    assert list(naming("fix = 'Load the adapter.'")) == []
