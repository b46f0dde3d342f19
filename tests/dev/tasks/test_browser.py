"""Which browser the browser tests use, and when one may be installed."""

import os

import pytest
from t2i_adapter_pack.dev.tasks import browser


@pytest.fixture
def command(tmp_path):
    """Create an executable file with this name in a folder."""

    def make(name):
        path = tmp_path / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def nowhere(monkeypatch):
    """A machine without a browser at the usual places."""
    monkeypatch.setattr(browser, "PLACES", ())


def test_a_browser_on_the_path_is_found_and_the_first_name_wins(command, nowhere, tmp_path):
    assert browser.find({"PATH": str(tmp_path)}) is None
    chrome = command("google-chrome")
    assert browser.find({"PATH": str(tmp_path)}) == chrome
    chromium = command("chromium")
    assert browser.find({"PATH": str(tmp_path)}) == chromium


def test_only_the_named_browser_is_used(command, tmp_path):
    command("chromium")
    own = command("my-browser")
    assert browser.find({"PATH": str(tmp_path), "CHROMIUM_PATH": str(own)}) == own
    assert browser.find({"PATH": str(tmp_path), "CHROMIUM_PATH": str(tmp_path / "gone")}) is None


@pytest.mark.parametrize(
    ("environ", "user", "tools", "may"),
    [
        ({"CI": "true"}, 0, ["apt-get"], True),
        ({}, 0, ["apt-get"], False),
        ({"CI": "true"}, 1000, ["apt-get"], False),
        ({"CI": "true"}, 0, [], False),
    ],
)
def test_only_ci_as_root_with_apt_installs(environ, user, tools, may, command, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: user, raising=False)
    for tool in tools:
        command(tool)
    assert browser.may_install({**environ, "PATH": str(tmp_path)}) is may


def test_without_a_browser_the_command_advises_and_succeeds(nowhere, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CI", "CHROMIUM_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert browser.main([]) == 0
    assert "apt-get install chromium" in capsys.readouterr().out


def test_ci_installs_what_is_missing(command, nowhere, tmp_path, monkeypatch, capsys):
    package, log = command("package"), tmp_path / "log"
    apt = f'echo "$@" >> "{log}"\ncase "$*" in *install*) /bin/mv "{package}" "{tmp_path}/chromium";; esac\n'
    command("apt-get").write_text(f"#!/bin/sh\n{apt}")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    monkeypatch.delenv("CHROMIUM_PATH", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert browser.main([]) == 0
    assert log.read_text().splitlines() == ["-qq update", "-qq install --yes --no-install-recommends chromium"]
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "chromium")
