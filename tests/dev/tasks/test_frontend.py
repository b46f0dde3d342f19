"""Servers use ComfyUI's own frontend, or the one in T2I_FRONTEND."""

import subprocess

import pytest
from t2i_adapter_pack.dev.tasks import base_directory, frontend, locate, server


def test_the_variable_names_the_frontend(tmp_path, monkeypatch):
    base = base_directory.prepare(tmp_path / "base", tmp_path)
    own = server.ComfyServer(tmp_path, base).command
    assert "--front-end-root" not in own
    monkeypatch.setenv(frontend.VARIABLE, str(tmp_path))
    command = server.ComfyServer(tmp_path, base).command
    assert command[command.index("--front-end-root") + 1] == str(tmp_path)


def test_a_frontend_is_fetched_once(tmp_path, monkeypatch):
    commands = []

    def run(command, check):
        commands.append(command)
        page = tmp_path / "frontend-1.2.3" / "comfyui_frontend_package" / "static" / "index.html"
        page.parent.mkdir(parents=True)
        page.touch()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(frontend.subprocess, "run", run)
    first = frontend.ensure("1.2.3", tmp_path)
    assert (first / "index.html").is_file()
    assert frontend.ensure("1.2.3", tmp_path) == first
    (command,) = commands
    assert command[-1] == "comfyui-frontend-package==1.2.3"


def test_a_failed_download_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(frontend.subprocess, "run", lambda command, check: subprocess.CompletedProcess(command, 1))
    with pytest.raises(locate.SetupError, match="got an error from pip"):
        frontend.ensure("1.2.3", tmp_path)
