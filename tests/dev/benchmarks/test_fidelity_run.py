"""The fidelity benchmark from the command to the page, and again after an interruption."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

# Most of it is ComfyUI starting; a machine that does other things at the same time takes minutes.
pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.workshop, pytest.mark.timeout(1500)]
LAUNCH = Path(__file__).absolute().parents[3] / "dev" / "tasks" / "launch.py"


@pytest.fixture(scope="module")
def run(comfyui_path, tmp_path_factory):
    """Run the command and return its output."""
    folder = tmp_path_factory.mktemp("fidelity")

    def once(*more: str) -> str:
        command = [sys.executable, str(LAUNCH), "dev.benchmarks.fidelity.main", "--scenes", "2", "--train-steps", "2"]
        command += ["--only", "place", "--true-scenes", "128", *more]
        command += ["--work", str(folder / "work"), "--out", str(folder / "docs")]
        environ = {**os.environ, "COMFYUI_PATH": str(comfyui_path), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=700, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return done.stdout

    once.folder = folder
    once.printed = once()
    return once


def strips(folder: Path) -> dict[str, int]:
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.rglob("*.png")}


def groups(work: Path) -> dict[str, Any]:
    return json.loads((work / "results.json").read_text(encoding="utf-8"))["groups"]


def test_the_command_trains_draws_and_writes_the_page(run):
    found = groups(run.folder / "work")
    rows = found["place"]["rows"]
    assert list(found) == ["place"]
    assert list(rows) == ["no adapter", "sketch-base", "sketch-decoder", "sketch-both"]
    # Trained for two steps at different places, they are different adapters and draw differently.
    assert len({json.dumps(row) for row in rows.values()}) == len(rows)
    text = (run.folder / "docs" / "fidelity.md").read_text(encoding="utf-8")
    assert "## Encoder or decoder" in text
    with Image.open(run.folder / "docs" / "fidelity" / "place.jpg") as sheet:
        assert sheet.width > sheet.height


def test_a_second_run_makes_only_what_is_missing(run):
    work = run.folder / "work"
    before, found = strips(work), groups(work)
    lost = next(name for name in before if "sketch-decoder" in name)
    pixels = Image.open(work / lost).tobytes()
    (work / lost).unlink()
    run()
    after = strips(work)
    assert {name for name in after if after[name] != before[name]} == {lost}
    assert Image.open(work / lost).tobytes() == pixels
    assert groups(work) == found
