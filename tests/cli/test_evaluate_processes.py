"""The evaluate command in two processes, started by accelerate."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from .held_out import scenes_folder, weights
from .test_processes import COMMAND, PATIENCE, free_port

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(1200)]


def test_two_processes_evaluate_as_one(miniature, comfyui_path, tmp_path):
    from t2i_adapter_pack.cli.main import main

    data = scenes_folder(tmp_path / "data", "sketch", 2)
    words = [f"--checkpoint={miniature}", f"--adapter={weights('sketch')}", "--data", str(data), "--annotator=canny"]
    words += ["--resolution=128", "--steps=1", "--scheduler=normal", f"--comfyui={comfyui_path}", "--name=run"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--main_process_port", free_port(), str(COMMAND), "evaluate", *words, f"--output={tmp_path / 'two'}"]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environ |= {"COMFYUI_PATH": str(comfyui_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert main(["evaluate", *words, f"--output={tmp_path / 'one'}"]) == 0
    one, two = (json.loads((tmp_path / name / "run" / "report.json").read_text())["rows"] for name in ("one", "two"))
    assert one == two
