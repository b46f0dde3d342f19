"""The command in separate processes: two started by accelerate, and one that is killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .test_run import same_state, state

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(1200)]
COMMAND = Path(__file__).with_name("command.py")
PATIENCE = 1000


@pytest.fixture
def environ(comfyui_path):
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "COMFYUI_PATH": str(comfyui_path), "OMP_NUM_THREADS": "1"}


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def launcher(precision: str) -> list[str]:
    """The words that start two processes of the command."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", precision, "--dynamo_backend", "no"]
    return [*launch, "--main_process_port", free_port(), str(COMMAND), "train"]


def test_two_processes_have_the_losses_of_one_with_twice_the_batch(command, arguments, environ, tmp_path):
    launch = launcher("no")
    launch += arguments(name="two", batch_size=1, steps=6, prompt_dropout=0.3)
    done = subprocess.run(launch, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert command(name="one", batch_size=2, steps=6, prompt_dropout=0.3) == 0
    one, two = state(tmp_path, "one"), state(tmp_path, "two")
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-4)
    assert two["origin"] == one["origin"]
    # One process goes on where two have stopped.
    assert command(name="two", batch_size=2, steps=7, prompt_dropout=0.3) == 0


def test_a_killed_run_goes_on_as_if_nothing_had_happened(command, arguments, environ, tmp_path):
    words = [sys.executable, str(COMMAND), "train", *arguments(steps=100_000, save_every=2)]
    with subprocess.Popen(words, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + PATIENCE
        while state(tmp_path) is None and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        _, told = process.communicate()
    assert process.returncode == -signal.SIGKILL, told.decode()
    steps = len(state(tmp_path)["losses"]) + 3
    assert command(steps=steps) == command(steps=steps, name="whole") == 0
    assert len(state(tmp_path)["losses"]) == steps
    assert same_state(state(tmp_path), state(tmp_path, "whole"))


def test_a_launched_run_adopts_the_precision_shows_its_progress_and_stops_without_a_traceback(
    arguments, environ, tmp_path
):
    words = [*launcher("bf16"), *arguments(batch_size=1, steps=100_000, save_every=2)]
    lock = tmp_path / "runs" / "run" / "run.lock"
    with subprocess.Popen(words, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + PATIENCE
        while state(tmp_path) is None and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(int(lock.read_text().split()[1]), signal.SIGTERM)
        _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    assert "Traceback" not in told
    stopped = re.findall(r"stopped after step (\d+); .* Repeat the command to resume", told)
    assert stopped == [str(len(state(tmp_path)["losses"]))]
    assert told.count("Precision: bf16, as accelerate asks.") == 1
    assert state(tmp_path)["origin"]["precision"] == "bf16"
    assert re.search(r"Preparing: 100%.* 5/5 \[", told)
    assert re.search(r"Training: +0%.* \d+/100000 \[\d\d:\d\d<", told)
