"""Every error begins with the sentence that a user understands."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).absolute().parents[1]
SHIPPED = ("common", "adapter_models", "annotators", "training", "nodes", "cli")
# Still to be written: a folder that is done leaves this tuple.
TO_DO = ("common", "adapter_models", "annotators", "training", "nodes", "cli")
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
    if not where.startswith(TO_DO):
        assert found == []


def test_a_silent_error_is_found() -> None:
    assert list(silent("raise AdapterError(where, got, expected, fix)")) == [1]
    assert list(silent("raise errors.damaged(where, got, expected)")) == [1]
    assert list(silent("raise AdapterError(where, got, expected, says='The hint is empty.')")) == []
    assert list(silent("logger.error('text')")) == []
