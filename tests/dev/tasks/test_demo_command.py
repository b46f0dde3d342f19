"""The demo command with a fake ComfyUI that fails, exits or is interrupted on request."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).absolute().parents[3]


@pytest.fixture
def demo(tmp_path):
    """Return a function that starts the demo, with its output in a file."""
    comfyui = tmp_path / "ComfyUI"
    comfyui.mkdir()
    (comfyui / "main.py").write_bytes((Path(__file__).parent / "fake_comfyui.py").read_bytes())
    Image.new("RGB", (96, 64)).save(tmp_path / "sketch.png")
    started = []

    def start(prompt, *arguments):
        command = [
            sys.executable,
            str(ROOT / "dev" / "tasks" / "launch.py"),
            "dev.demo.main",
            "--output",
            str(tmp_path / "out"),
        ]
        command += ["--base", str(tmp_path / "base"), "--sketch", str(tmp_path / "sketch.png"), "--prompt", prompt]
        with (tmp_path / "output.txt").open("wb") as out:
            environ = {**os.environ, "COMFYUI_PATH": str(comfyui)}
            # Where these tests run in the background Ctrl-C is ignored, and children would inherit that.
            before = signal.signal(signal.SIGINT, signal.default_int_handler)
            child = subprocess.Popen([*command, *arguments], env=environ, stdout=out, stderr=subprocess.STDOUT)
            signal.signal(signal.SIGINT, before)
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()


def output(tmp_path):
    return (tmp_path / "output.txt").read_text()


def server_is_up(text):
    import urllib.request

    url = re.search(r"http://127\.0\.0\.1:\d+", text).group(0)
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url + "/system_stats", timeout=5).close()
    except OSError:
        return False
    return True


def test_pictures_and_sheet_are_written_and_the_server_ends(demo, tmp_path):
    assert demo("a lighthouse").wait(120) == 0
    text = output(tmp_path)
    assert "[ 1/2] without  a lighthouse" in text
    assert "[ 2/2] with     a lighthouse" in text
    names = {path.name for path in (tmp_path / "out").rglob("*.png")}
    assert names == {"side-by-side.png", "1-sketch.png", "1-without.png", "1-with.png"}
    assert str(tmp_path / "out" / "side-by-side.png") in text
    assert not server_is_up(text)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("refuse", r"node 1 \(CheckpointLoaderSimple\): Value not in list: ckpt_name"),
        ("fail", r"node 8 \(ApplyT2IAdapter\): AdapterError: got SDXL; expected SD1.x"),
        ("die", r"(?s)exit status 9.*Segmentation fault"),
    ],
)
def test_failures_are_reported_and_the_server_is_stopped(demo, tmp_path, prompt, said):
    assert demo(prompt).wait(120) == 1
    text = output(tmp_path)
    assert re.search(said, text)
    assert "comfyui.log" in text
    assert "most recent call" not in text
    assert not server_is_up(text)


@pytest.mark.signals
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_ends_serving_and_the_server(demo, tmp_path, number, status):
    child = demo("a lighthouse", "--serve")
    deadline = time.monotonic() + 120
    while "Ctrl-C ends ComfyUI" not in output(tmp_path):
        assert time.monotonic() < deadline
        assert child.poll() is None, output(tmp_path)
        time.sleep(0.2)
    assert server_is_up(output(tmp_path))
    child.send_signal(number)
    assert child.wait(60) == status
    assert "most recent call" not in output(tmp_path)
    assert not server_is_up(output(tmp_path))
