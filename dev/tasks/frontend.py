"""Get a frontend newer than ComfyUI's own, to see that the pack works with it too.

`python3 run.py tests-frontend` runs the browser's tests with it. Any server that `dev.tasks.server`
starts uses the frontend whose folder the variable T2I_FRONTEND names.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .locate import SetupError

PACKAGE = "comfyui-frontend-package"
# The newest version that the pack was tested with; it is inside pyproject.toml's range.
NEWEST = "1.58.1"
VARIABLE = "T2I_FRONTEND"


def ensure(version: str, state: Path) -> Path:
    """Return the folder of a frontend; download it if it is missing.

    Args:
        version: Version of the package.
        state: Ignored folder for it; the frontend in ComfyUI's environment stays as it is.

    Returns:
        The folder for ComfyUI's --front-end-root.

    Raises:
        SetupError: when pip fails.
    """
    home = state / f"frontend-{version}"
    root = home / "comfyui_frontend_package" / "static"
    if not (root / "index.html").is_file():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--upgrade", "--target", str(home), f"{PACKAGE}=={version}"]
        if subprocess.run(command, check=False).returncode != 0:
            raise SetupError(
                f"download of {PACKAGE} {version}: got an error from pip, shown above; expected the package in {home}. "
                "Check the connection and run the command again."
            )
    return root


def arguments(environ: Mapping[str, str]) -> list[str]:
    """Return main.py's arguments for the frontend in T2I_FRONTEND; none if the variable is not set."""
    root = environ.get(VARIABLE)
    return ["--front-end-root", root] if root else []
