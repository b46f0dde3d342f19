"""Run mypy on the libraries, independent of the name of the checkout's folder."""

import subprocess
import sys

from . import links, paths

LIBRARIES = ("common", "adapter_models", "annotators", "training", "cli", "dev/tasks", "dev/demo")


def main(arguments: list[str]) -> int:
    """Check every library that exists; return mypy's status.

    mypy derives module names from folders and rejects "my pack" or "ComfyUI-T2I-Adapter", and a single library can't
    resolve `..adapter_models`. So mypy gets links to the libraries in a package with a fixed name.
    """
    home = paths.STATE / "typecheck"
    package = home / "t2i_adapter_pack"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    present = [name for name in LIBRARIES if (paths.ROOT / name / "__init__.py").is_file()]
    for folder in {name.partition("/")[0] for name in present}:
        links.link(paths.ROOT / folder, package / folder)
    command = [sys.executable, "-m", "mypy", "--config-file", str(paths.ROOT / "pyproject.toml")]
    command += ["--cache-dir", str(paths.STATE / "mypy-cache"), *arguments]
    for name in present:
        command += ["--package", f"t2i_adapter_pack.{name.replace('/', '.')}"]
    return subprocess.run(command, cwd=home, check=False).returncode
