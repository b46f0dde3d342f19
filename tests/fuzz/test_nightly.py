"""The session `fuzz` runs every property test of this folder, and starts with useful inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from t2i_adapter_pack.dev.tasks import fuzz


@dataclass
class Ended:
    returncode: int


@pytest.mark.parametrize("parser", fuzz.PARSERS, ids=lambda parser: parser.name)
def test_a_parser_has_property_tests_that_take_bytes(parser):
    tests = fuzz.tests_of(parser)
    assert tests
    for test in tests.values():
        # Too few bytes for any value: nothing is tried, and nothing may break.
        assert fuzz.one_input(test)(b"") is None


def test_every_file_of_property_tests_is_a_parsers():
    files = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert files - {"nightly"} == {parser.name for parser in fuzz.PARSERS}


def test_a_new_corpus_gets_its_first_inputs_and_an_old_one_none(tmp_path):
    fuzz.sow(tmp_path / "new")
    first = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert len(first) == fuzz.FIRST_INPUTS
    assert len(set(first.values())) > fuzz.FIRST_INPUTS // 2
    assert max(map(len, first.values())) <= fuzz.LONGEST_INPUT
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "found").write_bytes(b"x")
    fuzz.sow(tmp_path / "old")
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["found"]


def test_an_attack_may_last_as_long_as_it_is_told(monkeypatch):
    commands = []
    monkeypatch.setattr(fuzz.subprocess, "run", lambda command, **_: commands.append(command) or Ended(0))
    assert fuzz.attack(60.0)
    (limit,) = (part.removeprefix("--timeout=") for part in commands[0] if part.startswith("--timeout="))
    assert int(limit) > 60 * 60
