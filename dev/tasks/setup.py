"""Install everything that a command needs, and record the paths."""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from . import environment, frontend, locate, paths


def main(arguments: list[str]) -> int:
    """Find or download ComfyUI, create or check the environment, and record both in `.comfyui/setup.json`."""
    parser = argparse.ArgumentParser(prog="setup", description=main.__doc__)
    parser.add_argument("--oldest", action="store_true", help="also get the oldest supported ComfyUI")
    parser.add_argument("--frontend", action="store_true", help="also get the newest frontend")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    paths.STATE.mkdir(exist_ok=True)
    try:
        with exclusive(paths.STATE / "setup.lock"):
            comfyui = locate.ensure(os.environ, paths.ROOT, paths.STATE)
            requirements = [comfyui / "requirements.txt", paths.TASKS / "requirements.txt"]
            python = environment.ensure(paths.ENVIRONMENT, requirements)
            place = {"comfyui": str(comfyui), "python": str(python)}
            if options.oldest:
                place["oldest"] = str(locate.copy_of(locate.OLDEST, paths.STATE))
            if options.frontend:
                place["frontend"] = str(frontend.ensure(frontend.NEWEST, paths.STATE))
            paths.SETUP.write_text(json.dumps(place, indent=1), encoding="utf-8")
    except locate.SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(f"ComfyUI in {comfyui}, set up in {time.monotonic() - started:.1f} s", flush=True)
    return 0


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two commands don't install into the environment at the same time."""
    with path.open("a+b") as file:
        lock(file.fileno())
        yield


def lock(descriptor: int) -> None:
    """Wait for a lock that the system releases when the process ends."""
    if sys.platform == "win32":
        import msvcrt

        while True:
            with contextlib.suppress(OSError):  # it gives up after ten seconds
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
                return
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
