"""How our errors look: a short name without the path of the pack on the disk, and no name or value at full length."""

from __future__ import annotations

import pytest
from t2i_adapter_pack.adapter_models import errors as adapters
from t2i_adapter_pack.annotators import errors as annotators
from t2i_adapter_pack.common import errors as common
from t2i_adapter_pack.training import errors as training

MODULES = (common, adapters, annotators, training)
CLASSES = [kind for module in MODULES for kind in vars(module).values() if isinstance(kind, type)]
ERRORS = list(dict.fromkeys(kind for kind in CLASSES if issubclass(kind, Exception)))


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__qualname__)
def test_an_error_is_shown_by_a_short_name(kind):
    assert issubclass(kind, common.PackError)
    assert issubclass(kind, ValueError)
    assert f"{kind.__module__}.{kind.__qualname__}" == f"t2i_adapter.{kind.__name__}"


LONG = {
    "one word": "w" * 10_000,
    "words": "a name of a few words " * 1000,
    "with apostrophes": "it's " * 5000,
    "unclosed quotes": " 'a" * 500_000,
    "digits": str(10**4000),
}


@pytest.mark.parametrize("name", LONG.values(), ids=LONG)
@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__qualname__)
def test_a_message_quotes_no_name_at_full_length(kind, name):
    ends = (name[:50], name[-50:])
    error = kind(name, f"a tensor '{name}' of type x", f"one of 'a', '{name}', 'b'", f"Rename '{name}' at once.")
    parts = (error.where, error.got, error.expected, error.fix)
    assert str(error) == "{}: got {}; expected {}. {}".format(*parts)
    assert len(error.where) <= 200
    assert all(len(part) <= 2000 for part in parts)
    assert error.got.startswith("a tensor '")
    assert error.got.endswith("' of type x")
    assert error.fix.endswith("' at once.")
    assert all(end in error.where for end in ends)
    if "'" not in name:
        assert max(map(len, parts)) <= 200 + len("one of 'a', '', 'b'")


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__qualname__)
def test_a_message_of_usual_length_is_left_alone(kind):
    parts = ("file's name.pth, weights", "it's 'a', isn't it", ", ".join(f"'{n}'" for n in range(200)), "Don't. " * 40)
    error = kind(*parts)
    assert (error.where, error.got, error.expected, error.fix) == parts


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__qualname__)
def test_a_message_can_be_written_into_every_log(kind):
    """ComfyUI's worker thread ended with what it could not write, and the server ran nothing any more."""
    message = str(kind("half \ud800", "'a\0b'", "\x1b[2J\r", "Übung — 画像\nsecond line. " + "\udfff" * 1000))
    message.encode("utf-8")
    assert "half \\ud800: got 'a\\x00b'; expected \\x1b[2J\\r. Übung — 画像\nsecond line." in message
    assert all(each.isprintable() or each == "\n" for each in message)
