"""mypy has nothing to say. A test, so that others run beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LAUNCH = Path(__file__).absolute().parents[2] / "tasks" / "launch.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_library_is_typed():
    command = [sys.executable, str(LAUNCH), "tasks.typecheck"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
