"""Validate the archive to publish: `python3 run.py registry`, before a release and in the publishing workflow."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import archive, environment, paths
from .locate import SetupError

# Our limit for the archive's size in bytes; the registry accepts much more.
LARGEST = 2_000_000
HOME = paths.STATE / "comfy-cli"
PASSED = "All validation checks passed"


def main(arguments: list[str]) -> int:
    """Validate the pack with the registry's tool and check its archive's size; return 1 if either fails."""
    if arguments:
        sys.exit(f"registry: got {' '.join(arguments)}; expected no arguments.")
    try:
        environment.ensure(HOME, [paths.TASKS / "comfy-cli.txt"])
        troubles = [*complaints(), *excess()]
    except (SetupError, archive.ArchiveError) as error:
        troubles = [str(error)]
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    return 1 if troubles else 0


def complaints() -> list[str]:
    """Return the complaints of `comfy node validate`, whose exit status is 0 even then."""
    command = [str(environment.script_of(HOME, "comfy")), "--skip-prompt", "--no-enable-telemetry", "node", "validate"]
    # Its settings go into our folder, not the user's home; PATH leads to the ruff that it starts.
    own = {"HOME": str(HOME), "XDG_CONFIG_HOME": str(HOME), "APPDATA": str(HOME)}
    search = os.pathsep.join((str(environment.python_of(HOME).parent), os.environ.get("PATH", "")))
    answer = subprocess.run(
        command, cwd=paths.ROOT, env={**os.environ, **own, "PATH": search}, capture_output=True, text=True, check=False
    )
    said = answer.stdout + answer.stderr
    if answer.returncode == 0 and PASSED in said and "warning" not in said.lower():
        print(said, flush=True)
        return []
    return [f"comfy node validate: got complaints; expected none.\n{said}"]


def excess() -> list[str]:
    """Return a complaint if the archive is too large."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "pack.zip")
        files = archive.published(paths.ROOT)
        archive.write(paths.ROOT, files, target)
        size = target.stat().st_size
    print(f"The archive has {len(files)} files, {size / 1e6:.2f} MB.", flush=True)
    fault = f"archive: got {size} bytes; expected at most {LARGEST}. Name what users don't need in .comfyignore."
    return [fault] if size > LARGEST else []
