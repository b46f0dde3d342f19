"""The faults that measure the tests: each still fits the code, is put in, and is taken away again."""

from __future__ import annotations

import ast

import pytest
from t2i_adapter_pack.dev.tasks import faults, mutants, paths

PACKAGES = ("common", "adapter_models", "annotators", "training", "nodes", "nodes/host", "nodes/sampling", "cli")
FAULT = faults.Fault("a.py", "x < 1", "x <= 1", "off by one", "test_a.py")
CLEAN = "def small(x):\n    return x < 1\n"
TEST = "from pathlib import Path\n\ndef test_one():\n    assert 'x < 1' in Path('a.py').read_text()\n"


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: f"{fault.file} {fault.breaks}")
def test_a_fault_changes_one_line_and_is_still_python(fault):
    text = (paths.ROOT / fault.file).read_text(encoding="utf-8")
    changed = mutants.mutated(text, fault)
    pairs = zip(text.splitlines(), changed.splitlines(), strict=True)
    assert sum(before != after for before, after in pairs) == 1
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))
    assert all((paths.ROOT / tests).exists() for tests in fault.tests)


def test_every_package_has_faults():
    found = {fault.file.rpartition("/")[0] for fault in faults.FAULTS}
    assert found.issuperset(PACKAGES)
    assert len({(fault.file, fault.old) for fault in faults.FAULTS}) == len(faults.FAULTS) >= 30


@pytest.mark.parametrize("text", ["", "x < 1\nx < 1\n"])
def test_a_row_that_fits_no_line_or_several_is_an_error(text):
    with pytest.raises(mutants.MutantError, match=r"a\.py: got \d lines with 'x < 1'; expected one"):
        mutants.mutated(text, FAULT)


def test_a_fault_is_there_for_a_while_only(tmp_path):
    (tmp_path / "a.py").write_text(CLEAN)
    with pytest.raises(KeyboardInterrupt), mutants.planted(tmp_path, FAULT, 0):
        assert (tmp_path / "a.py").read_text() == CLEAN.replace("<", "<=")
        raise KeyboardInterrupt
    assert (tmp_path / "a.py").read_text() == CLEAN


@pytest.mark.signals  # children are forked
def test_a_fault_is_caught_or_survives(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(TEST)
    (tmp_path / "a.py").write_text(CLEAN)
    assert mutants.tried(tmp_path, FAULT.likely, quick_first=False) == mutants.Outcome(None, False, "")
    with mutants.planted(tmp_path, FAULT, 0):
        outcome = mutants.tried(tmp_path, FAULT.likely, quick_first=False)
    assert outcome == mutants.Outcome(None, True, "tests/test_a.py::test_one")
    assert mutants.row(FAULT, outcome) == "| `a.py` | off by one |  | yes | `test_a.py::test_one` |"
