"""Find a Chromium for the browser tests; on a CI machine, install one."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

COMMANDS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome", "microsoft-edge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
ADVICE = (
    "browser: got no Chromium; expected one on PATH, or its path in CHROMIUM_PATH. The browser tests are deselected. "
    "Install it (Debian: `apt-get install chromium`) to run them."
)


def main(arguments: list[str]) -> int:
    """Print which browser the tests will use; install one first if that is allowed."""
    if find(os.environ) is None and may_install(os.environ):
        install()
    print(find(os.environ) or ADVICE, flush=True)
    return 0


def find(environ: Mapping[str, str]) -> Path | None:
    """Return the browser from CHROMIUM_PATH, PATH or the usual places, in this order, or None."""
    named = environ.get("CHROMIUM_PATH")
    candidates = [named] if named else [*COMMANDS, *PLACES]
    found = filter(None, (shutil.which(name, path=environ.get("PATH")) for name in candidates))
    return next(map(Path, found), None)


def may_install(environ: Mapping[str, str]) -> bool:
    """Return whether this is a CI machine. Elsewhere, nothing outside of the checkout is changed."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return bool(environ.get("CI")) and is_root and shutil.which("apt-get", path=environ.get("PATH")) is not None


def install() -> None:
    """Install Debian's Chromium. If that fails, apt-get prints why."""
    print("Installing Chromium with apt-get ...", flush=True)
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        if subprocess.run(["apt-get", "-qq", *step], env=environ, check=False).returncode != 0:
            return
