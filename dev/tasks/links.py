"""Link a folder or file to a second place, on every operating system."""

import os
import shutil
import subprocess
from pathlib import Path


def link(source: Path, place: Path) -> None:
    """Make `place` show `source`: a symbolic link, else (Windows) a junction or a hard link, else a copy.

    Args:
        source: an existing folder or file.
        place: Path of the link; a link or copy from an earlier call is replaced.
    """
    if os.path.lexists(place):
        if place.is_symlink() and place.readlink() == source:
            return
        remove(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:
        link_without_symlinks(source, place)


def link_without_symlinks(source: Path, place: Path) -> None:
    """Link without symbolic links, which Windows allows only in developer mode."""
    if source.is_dir():
        made = os.name == "nt" and subprocess.run(
            ["cmd", "/c", "mklink", "/J", str(place), str(source)], capture_output=True, check=False
        )
        if not made or made.returncode != 0:
            shutil.copytree(source, place, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        return
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)


def remove(place: Path) -> None:
    """Remove a link or a copy, never the target of a link."""
    if place.is_symlink() or place.is_file():
        place.unlink()
        return
    try:
        place.rmdir()  # removes a junction, or an empty folder
    except OSError:
        shutil.rmtree(place)
