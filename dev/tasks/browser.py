"""Find a Chromium for the tests of ComfyUI's page; on a throw-away machine, install one."""

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
    "browser: got no Chromium; expected one on PATH, or its path in CHROMIUM_PATH. Tests of the page are left out. "
    "Install it (Debian: `apt-get install chromium`) to run them."
)


def main(arguments: list[str]) -> int:
    """Say which browser the tests of the page will use, and get one first where that is ours to do."""
    if find(os.environ) is None and may_install(os.environ):
        install()
    print(find(os.environ) or ADVICE, flush=True)
    return 0


def find(environ: Mapping[str, str]) -> Path | None:
    """Return the browser: CHROMIUM_PATH, else one on PATH, else one at its usual place, else None."""
    named = environ.get("CHROMIUM_PATH")
    candidates = [named] if named else [*COMMANDS, *PLACES]
    found = filter(None, (shutil.which(name, path=environ.get("PATH")) for name in candidates))
    return next(map(Path, found), None)


def may_install(environ: Mapping[str, str]) -> bool:
    """Tell whether this machine is a CI's own: elsewhere nothing is written outside of the checkout."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return bool(environ.get("CI")) and is_root and shutil.which("apt-get", path=environ.get("PATH")) is not None


def install() -> None:
    """Install Debian's Chromium. When that fails, apt-get has said why, and there is none."""
    print("Installing Chromium with apt-get ...", flush=True)
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        if subprocess.run(["apt-get", "-qq", *step], env=environ, check=False).returncode != 0:
            return
