"""Run modules of a tree whose folder can have any name, without putting it on sys.path."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).absolute().parents[3]
PROBE = """
import json, sys
from ...nodes import answer
def main(arguments):
    print(json.dumps([answer, arguments, __package__, sys.path]))
    return 7
"""


@pytest.mark.parametrize("name", ["main", "ComfyUI-T2I-Adapter", "my pack"])
@pytest.mark.parametrize("inside", [True, False])
def test_a_module_runs_in_a_folder_of_any_name(tmp_path, name, inside):
    root = tmp_path / name
    for package in ("dev/tasks", "dev/demo", "nodes"):
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").touch()
    shutil.copy(ROOT / "dev" / "tasks" / "launch.py", root / "dev" / "tasks" / "launch.py")
    (root / "dev" / "demo" / "probe.py").write_text(PROBE)
    (root / "nodes" / "__init__.py").write_text("answer = 42")
    script = "dev/tasks/launch.py" if inside else str(root / "dev" / "tasks" / "launch.py")
    command = [sys.executable, script, "dev.demo.probe", "--serve", "a b"]
    answer = subprocess.run(command, cwd=root if inside else tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 7, answer.stderr
    found, arguments, package, path = json.loads(answer.stdout)
    assert (found, arguments, package) == (42, ["--serve", "a b"], "t2i_adapter_pack.dev.demo")
    assert not [entry for entry in path if Path(entry or ".").absolute().is_relative_to(root)]


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_without_a_module_the_error_explains_the_usage(arguments):
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode != 0
    assert "run.py demo|tests" in answer.stderr
