"""The command's options, parsed before ComfyUI is imported, and how it finds ComfyUI."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from t2i_adapter_pack.adapter_models.conditions import IMAGE_CONDITIONS
from t2i_adapter_pack.cli import comfyui as starter
from t2i_adapter_pack.cli import main
from t2i_adapter_pack.cli.launcher import adopt_precision
from t2i_adapter_pack.cli.options import MORE_ANNOTATORS, parse
from t2i_adapter_pack.cli.stopping import Stopping
from t2i_adapter_pack.training.errors import TrainingError

ROOT = Path(__file__).absolute().parents[2]
LEAST = ["--checkpoint", "a.safetensors", "--data", "b", "c"]


def test_the_options_are_explained_without_comfyui():
    """Run as users do, from a folder with names that must not hide the pack's or anyone's modules."""
    environ = {name: value for name, value in os.environ.items() if name not in ("COMFYUI_PATH", "PYTHONPATH")}
    words = [sys.executable, str(ROOT / "cli"), "train", "--help"]
    answer = subprocess.run(words, capture_output=True, text=True, check=False, env=environ, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    for option in ("--checkpoint", "--data", "--condition", "--annotator", "--resolution", "--steps", "--batch-size"):
        assert option in answer.stdout
    assert "accelerate launch" in answer.stdout


def test_a_data_set_that_does_not_exist_is_told_before_torch_loads(tmp_path):
    (tmp_path / "s-0.tar").touch()
    words = [sys.executable, "-X", "importtime", str(ROOT / "cli"), "train", "--checkpoint", "a", "--steps", "3"]
    words += ["--data", str(tmp_path), str(tmp_path / "s-{0..1}.tar"), "--name", "x"]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert f"The data set {tmp_path / 's-1.tar'} does not exist." in answer.stderr
    assert "--data, " in answer.stderr
    assert " torch" not in answer.stderr


def test_every_option_has_help(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "default 1e-5, as in the paper" in text
    assert "None" not in text


def test_defaults_are_those_of_the_nodes():
    settings = parse(LEAST).settings(1)
    assert (settings.batch_size, settings.learning_rate, settings.timesteps, settings.seed) == (4, 1e-5, "cubic", 0)
    settings.check()


def test_each_process_has_its_batch():
    assert parse([*LEAST, "--batch-size", "3"]).settings(4).batch_size == 12
    assert parse(LEAST).data == ("b", "c")


WRONG = [["--condition", "style"], ["--annotator", "x"], ["--size", "huge"], ["--steps", "a"], ["--save-every", "-5"]]


@pytest.mark.parametrize("more", WRONG)
def test_wrong_words_end_the_command(more, capsys):
    with pytest.raises(SystemExit) as ended:
        parse([*LEAST, *more])
    assert ended.value.code == 2
    assert more[0] in capsys.readouterr().err


def test_comfyui_is_where_the_user_says_or_above_the_pack(tmp_path):
    for name in starter.LANDMARKS:
        path = tmp_path / "ComfyUI" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    there, pack = tmp_path / "ComfyUI", tmp_path / "ComfyUI" / "custom_nodes" / "my pack"
    assert starter.find(None, {}, pack) == there
    assert starter.find(None, {"COMFYUI_PATH": str(there)}, tmp_path / "x" / "y") == there
    assert starter.find(str(there), {"COMFYUI_PATH": "/nowhere"}, tmp_path / "x" / "y") == there
    with pytest.raises(TrainingError, match="no custom_nodes folder of a ComfyUI"):
        starter.find(None, {}, tmp_path / "x" / "y")
    with pytest.raises(TrainingError, match="comfyui: got /nowhere; expected ComfyUI's folder"):
        starter.find(None, {"COMFYUI_PATH": "/nowhere"}, pack)


def test_the_cpu_is_taken_where_it_is_asked_for():
    assert starter.wants_cpu(True, {})
    assert starter.wants_cpu(False, {"ACCELERATE_USE_CPU": "True"})


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_for_the_step_and_a_second_ctrl_c_does_not(first):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Stopping() as stopping:
        assert not stopping.asked
        signal.raise_signal(first)
        assert stopping.asked
        # Launchers send it to those who have had a Ctrl-C already.
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_ctrl_c_that_a_launcher_relays_is_one_request(monkeypatch):
    with Stopping(relayed=True) as stopping:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert stopping.asked
        monkeypatch.setattr("t2i_adapter_pack.cli.stopping._RELAY", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("asked", "chosen", "precision", "said"),
    [
        ("no", [], "fp32", ""),
        ("no", ["--precision", "bf16"], "bf16", ""),
        ("bf16", [], "bf16", "Precision: bf16, as accelerate asks."),
        ("bf16", ["--precision", "bf16"], "bf16", ""),
        ("fp16", ["--precision", "fp32"], "fp32", "accelerate asks for fp16; --precision fp32 overrides it."),
    ],
)
def test_the_launchers_precision_is_adopted_or_contradicted_aloud(asked, chosen, precision, said):
    options, line = adopt_precision(parse([*LEAST, *chosen]), {"ACCELERATE_MIXED_PRECISION": asked})
    assert (options.settings(1).precision, line) == (precision, said)


def test_the_command_starts_its_processes_once(monkeypatch):
    started = []
    monkeypatch.setattr(main, "start_processes", lambda count, words: started.append((count, words)))
    words = [*LEAST, "--processes", "2"]
    assert main.main(["train", *words]) == 130
    assert started == [(2, ["train", *words])]
    # In a process that was started, the option means nothing.
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert main.main(["train", *words, "--comfyui", "nowhere"]) == 1
    assert len(started) == 1


def test_a_precision_that_training_lacks_is_refused():
    with pytest.raises(TrainingError, match="Adapters can't be trained in fp8"):
        adopt_precision(parse(LEAST), {"ACCELERATE_MIXED_PRECISION": "fp8"})


@pytest.mark.host
@pytest.mark.usefixtures("comfyui")
def test_every_annotator_that_can_be_named_is_known():
    from t2i_adapter_pack.cli.annotate import preset_named

    adapter = SimpleNamespace(info=SimpleNamespace(family="SDXL", condition=None))
    for name in (*IMAGE_CONDITIONS, *MORE_ANNOTATORS):
        assert preset_named(name, adapter).condition == name
    assert preset_named("auto", adapter) is None
