"""The shared environment is created once, reused, and repaired when damaged; tested with a tiny wheel."""

import base64
import hashlib
import subprocess
import time
import zipfile

import pytest
from t2i_adapter_pack.dev.tasks import environment

FILES = {
    "tiny/__init__.py": b"answer = 42\n",
    "tiny-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    rows = []
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        for name, data in FILES.items():
            wheel.writestr(name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={digest},{len(data)}\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "".join(rows) + "tiny-1.0.dist-info/RECORD,,\n")
    return folder


@pytest.fixture
def requirements(wheels, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    file = tmp_path / "requirements.txt"
    file.write_text("tiny\n")
    return [file]


def answer(python):
    command = [python, "-c", "import tiny; print(tiny.answer)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def module(home):
    (found,) = home.glob("**/site-packages/tiny/__init__.py")
    return found


@pytest.mark.slow
def test_the_environment_is_created_reused_repaired_and_replaced(requirements, tmp_path, monkeypatch):
    home = tmp_path / "my environment"
    python = environment.ensure(home, requirements)
    assert answer(python) == "42\n"
    assert environment.script_of(home, "pip").is_file()

    installs = []
    real = environment.install
    monkeypatch.setattr(environment, "install", lambda python, args: (installs.append(list(args)), real(python, args)))
    begun = time.monotonic()
    environment.ensure(home, requirements)
    assert installs == []
    assert time.monotonic() - begun < 10

    for damage in ("gone", "shorter"):
        if damage == "gone":
            module(home).unlink()
        else:
            module(home).write_text("answer")
        environment.ensure(home, requirements)
        assert installs.pop()[-1] == "tiny==1.0"
        assert answer(python) == "42\n"

    (metadata,) = home.glob("**/tiny-1.0.dist-info")
    metadata.rename(metadata.with_name("~iny-1.0.dist-info"))
    environment.ensure(home, requirements)
    assert installs.pop()[-1] == "tiny==1.0"

    requirements[0].write_text("tiny>=1\n")
    environment.ensure(home, requirements)
    assert installs.pop()[-2:] == ["--requirement", str(requirements[0])]

    # As a power cut in the middle of an installation leaves it.
    environment.write_stamp(home, {"state": environment.INSTALLING})
    (home / "left-over").touch()
    environment.ensure(home, requirements)
    assert not (home / "left-over").exists()
    assert answer(python) == "42\n"


@pytest.mark.slow
def test_a_failed_installation_is_reported_and_stays_incomplete(requirements, tmp_path):
    requirements[0].write_text("a-package-that-is-nowhere\n")
    home = tmp_path / "environment"
    with pytest.raises(environment.SetupError, match="got an error from pip"):
        environment.ensure(home, requirements)
    assert environment.read_stamp(home)["state"] == environment.INSTALLING


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_broken_stamp_counts_as_missing(tmp_path, text):
    environment.stamp_of(tmp_path).write_text(text)
    assert environment.read_stamp(tmp_path) == {}
