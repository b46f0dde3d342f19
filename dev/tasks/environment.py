"""Create, check and repair the environment that the commands share."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from . import paths
from .locate import SetupError

READY = "ready"
INSTALLING = "installing"


def ensure(environment: Path, requirements: Sequence[Path]) -> Path:
    """Return the Python of an environment in which the requirement files are installed.

    A complete environment has a stamp. If the stamp matches and all installed files exist, nothing is done. Damaged
    packages are reinstalled. An incomplete installation, or one for another Python, is replaced.

    Args:
        environment: the environment's folder.
        requirements: pip requirement files.

    Returns:
        The environment's Python.

    Raises:
        SetupError: when pip fails.
    """
    python = python_of(environment)
    wanted = {"python": fingerprint_python(), "requirements": fingerprint(requirements)}
    stamp = read_stamp(environment)
    if not starts(python) or stamp.get("state") != READY or stamp.get("python") != wanted["python"]:
        create(environment)
        stamp = {}
    if stamp.get("requirements") != wanted["requirements"]:
        write_stamp(environment, {"state": INSTALLING})
        install(python, [argument for file in requirements for argument in ("--requirement", str(file))])
    else:
        damaged = inspect(python, stamp["packages"])
        if not damaged:
            return python
        print(f"Repairing {', '.join(damaged)} ...", flush=True)
        install(python, ["--force-reinstall", "--no-deps", *damaged])
    write_stamp(environment, {"state": READY, **wanted, "packages": packages(python)})
    return python


def python_of(environment: Path) -> Path:
    """Return the path of an environment's Python."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def script_of(environment: Path, name: str) -> Path:
    """Return the path of a command installed in an environment."""
    return environment / (f"Scripts/{name}.exe" if os.name == "nt" else f"bin/{name}")


def fingerprint_python() -> str:
    """Return the properties of Python that installed packages depend on."""
    return f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]} {platform.machine()}"


def fingerprint(requirements: Sequence[Path]) -> str:
    """Return a digest of the requirement files' contents."""
    texts = "\0".join(file.read_text(encoding="utf-8") for file in requirements)
    return sha256(texts.encode()).hexdigest()


def starts(python: Path) -> bool:
    """Return whether this Python exists, runs, and has a working pip."""
    try:
        return subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def create(environment: Path) -> None:
    """Create an empty environment; an existing one is deleted."""
    shutil.rmtree(environment, ignore_errors=True)
    environment.parent.mkdir(parents=True, exist_ok=True)
    print(f"Creating an environment in {environment} ...", flush=True)
    if subprocess.run([sys.executable, "-m", "venv", str(environment)], check=False).returncode != 0:
        raise SetupError(
            f"environment: got an error from `{sys.executable} -m venv`, shown above; expected a new environment in "
            f"{environment}. On Debian and Ubuntu install python3-venv, then run the command again."
        )


def install(python: Path, arguments: Sequence[str]) -> None:
    """Run pip install in the environment."""
    # Python compiles modules on import; compiling all packages now would take minutes, for files mostly unused.
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", *arguments]
    if subprocess.run(command, check=False).returncode != 0:
        raise SetupError(
            "environment: got an error from pip, shown above; expected ComfyUI's requirements and the test tools to "
            "install (about 5 GB). Check the connection and the free disk space, then run the command again."
        )


def packages(python: Path) -> list[str]:
    """Return the installed packages as name==version."""
    found: list[str] = run_check(python, {})["packages"]
    return found


def inspect(python: Path, expected: Sequence[str]) -> list[str]:
    """Return the packages with missing or changed files, as pip arguments."""
    damaged: list[str] = run_check(python, {"expected": list(expected)})["damaged"]
    return damaged


def run_check(python: Path, question: dict[str, list[str]]) -> dict[str, list[str]]:
    """Run check_packages.py in the environment's own Python."""
    command = [str(python), str(paths.TASKS / "check_packages.py")]
    answer = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise SetupError(
            f"environment: got an error while checking its packages; expected a list of them.\n{answer.stderr}"
            f"Delete {paths.ENVIRONMENT} and run the command again."
        )
    result: dict[str, list[str]] = json.loads(answer.stdout)
    return result


def read_stamp(environment: Path) -> dict[str, Any]:
    """Return the environment's stamp, or an empty dict."""
    try:
        stamp = json.loads(stamp_of(environment).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(environment: Path, stamp: dict[str, Any]) -> None:
    """Write the environment's stamp."""
    stamp_of(environment).write_text(json.dumps(stamp, indent=1), encoding="utf-8")


def stamp_of(environment: Path) -> Path:
    """Return the path of the environment's stamp."""
    return environment / "t2i-adapter-setup.json"
