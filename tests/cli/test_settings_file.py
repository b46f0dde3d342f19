"""Options in a file: the same as on the command line, and a run's own file repeats it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from t2i_adapter_pack.cli import settings_file
from t2i_adapter_pack.cli.early import check_paths
from t2i_adapter_pack.cli.options import parse
from t2i_adapter_pack.cli.settings_file import repeating
from t2i_adapter_pack.common.errors import PackError

from .test_run import same_state, state

LEAST = ["--checkpoint", "a.safetensors", "--data", "b", "c d"]


def written(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    return ["--settings", str(tmp_path / "run.toml")]


def test_a_file_has_the_names_of_the_options(tmp_path):
    lines = (
        'checkpoint = "a.safetensors"\ndata = ["b", "c d"]\nlearning-rate = 3e-5\nprompt-weights = true\ncpu = false'
    )
    words = written(tmp_path, f"{lines}\nsteps = 7\n")
    assert parse(words) == parse([*LEAST, "--learning-rate", "3e-5", "--prompt-weights", "--steps", "7"])


def test_the_command_line_overrides_the_file(tmp_path):
    words = written(tmp_path, 'checkpoint = "x"\ndata = ["x", "y", "z"]\nsteps = 7\n')
    assert parse([*words, *LEAST]) == parse([*LEAST, "--steps", "7"])
    assert parse([*LEAST, words[0] + "=" + words[1]]) == parse([*LEAST, "--steps", "7"])


ODD = ["--checkpoint", 'Übung "1" \\ \x7f\n.safetensors', "--data", "画像", "--name", "it's", "--ema", "0.999"]


@pytest.mark.parametrize(
    "arguments",
    [LEAST, [*LEAST, "--cpu", "--lr-scheduler", "cosine", "--seed", "-3", "--epochs", "1.5"], ODD],
    ids=["least", "more", "odd names"],
)
def test_what_a_run_writes_repeats_its_options(tmp_path, arguments):
    options = parse(arguments)
    assert parse(written(tmp_path, repeating(options))) == options


def test_paths_of_files_are_written_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.safetensors", "s-00.tar", "b"):
        Path(name).touch()
    options = parse(["--checkpoint", "a.safetensors", "--data", "s-{00..01}.tar", "b", "--adapter", "b"])
    text = repeating(options)
    here = os.fspath(tmp_path)
    assert f'checkpoint = "{here}/a.safetensors"\n' in text
    assert f'data = ["{here}/s-{{00..01}}.tar", "{here}/b"]\n' in text
    assert f'adapter = "{here}/b"\n' in text
    assert text.startswith("# training data\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = ", "The settings file run.toml is not a list of options."),
        ("[training]\nsteps = 3", "a table or a list of tables as training"),
        (None, "can't be read"),
    ],
    ids=str,
)
def test_a_file_that_can_not_be_read_is_told_before_torch_loads(tmp_path, text, message):
    words = written(tmp_path, text or "")
    if text is None:
        (tmp_path / "run.toml").unlink()
    for read in (check_paths, parse):
        with pytest.raises(PackError, match=r"--settings, .*run.toml: got ") as caught:
            read(words)
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [("learnin-rate = 1", "--learnin-rate=1"), ('steps = "a"', "argument --steps: invalid int")]
)
def test_wrong_options_in_a_file_end_the_command(tmp_path, capsys, text, message):
    with pytest.raises(SystemExit):
        parse([*LEAST, *written(tmp_path, text)])
    assert message in capsys.readouterr().err


def test_a_data_set_in_a_file_that_does_not_exist_is_told_before_torch_loads(tmp_path):
    with pytest.raises(PackError, match="The data set /nowhere/a does not exist"):
        check_paths(written(tmp_path, 'data = ["/nowhere/a"]'))


def test_an_old_python_without_the_package_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(settings_file, "TOMLLIB_SINCE", (99, 0))
    monkeypatch.setitem(sys.modules, "tomli", None)
    with pytest.raises(PackError, match="or the package tomli"):
        parse(written(tmp_path, ""))


@pytest.mark.host
def test_the_file_of_a_run_repeats_it(command, tmp_path):
    from t2i_adapter_pack.cli.main import main

    assert command(steps=3, lr_scheduler="linear", ema=0.9) == 0
    file = tmp_path / "runs" / "run" / "settings.toml"
    assert main(["train", "--settings", str(file), "--name", "again"]) == 0
    assert same_state(state(tmp_path), state(tmp_path, "again"))
    assert state(tmp_path)["origin"] == state(tmp_path, "again")["origin"]
