"""The two commands: `python3 run.py demo` and `python3 run.py tests`. What follows `--` goes to the command.

Makes a small environment that holds nothing but nox, and hands over to `nox -s <command>`. Only starts programs: it
imports nothing of this tree, because Python has put this folder on sys.path.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NOX = "nox==2026.10.20"
ROOT = Path(__file__).absolute().parent
HOME = ROOT / ".comfyui" / "nox"
PYTHON = HOME / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
# Isolated: neither this folder nor a user's PYTHONPATH gets onto sys.path.
NOX_COMMAND = [str(PYTHON), "-I", "-m", "nox"]


def has_nox() -> bool:
    """Tell whether the small environment is whole and of this Python."""
    question = "import sys, nox, importlib.metadata as m; print(*sys.version_info[:2], 'nox==' + m.version('nox'))"
    try:
        answer = subprocess.run([str(PYTHON), "-I", "-c", question], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.split() == [*map(str, sys.version_info[:2]), NOX]


def make_nox() -> None:
    """Create the small environment, in place of what is there."""
    print(f"Installing {NOX} into {HOME} ...", flush=True)
    shutil.rmtree(HOME, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
    subprocess.run([str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NOX], check=True)


def main() -> int:
    """Run one nox session and return its exit status."""
    if sys.version_info < (3, 10):
        sys.exit(f"run.py: got Python {sys.version.split()[0]}; expected 3.10 or newer. Try `python3.11 run.py demo`.")
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        checks = "tests|tests-oldest|tests-frontend|lint|fuzz|mutants|registry|gpu"
        commands = f"demo|{checks}|benchmarks|gallery|templates|fidelity|miniature"
        sys.exit(f"usage: python3 run.py {commands} [-- arguments]")
    try:
        if not has_nox():
            make_nox()
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"run.py: got an error from {error.cmd}, shown above; expected {NOX} in {HOME}. On Debian and Ubuntu "
            "install python3-venv; check the connection; then run the command again."
        )
    command = [*NOX_COMMAND, "--noxfile", str(ROOT / "dev" / "noxfile.py"), "--session", *sys.argv[1:]]
    with subprocess.Popen(command, cwd=ROOT) as nox:
        while True:
            try:
                return nox.wait()
            except KeyboardInterrupt:
                continue  # the terminal has told nox as well: let it end its own children


if __name__ == "__main__":
    sys.exit(main())
