"""Write the archive that is uploaded to the registry: `python dev/tasks/launch.py dev.tasks.archive out.zip`.

It contains what `comfy node publish` would upload: the files that git tracks, without those in `.comfyignore`. So size
and content can be checked without the registry's own tool.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

from . import paths

IGNORED = ".comfyignore"
# .comfyignore has the syntax of .gitignore, so git itself can evaluate it.
LIST = ["git", "-c", "safe.directory=*", "-c", "core.quotePath=false", "ls-files", "-z"]


class ArchiveError(RuntimeError):
    """The archive can't be made."""


def main(arguments: list[str]) -> int:
    """Write the archive and list its files."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit(f"archive: got {' '.join(arguments) or 'no arguments'}; expected one, the file to write.")
    target = Path(arguments[0])
    files = published(paths.ROOT)
    write(paths.ROOT, files, target)
    for name in files:
        print(name)
    print(f"{target}: {len(files)} files, {target.stat().st_size / 1e6:.2f} MB")
    return 0


def published(root: Path) -> list[str]:
    """List the published files by their path relative to the root, with forward slashes.

    Args:
        root: a git checkout with a `.comfyignore`.

    Raises:
        ArchiveError: root is not a git checkout; the registry's tool would then publish every file in it.
    """
    tracked = listed(root, "--cached")
    ignored = listed(root, "--cached", "--ignored", f"--exclude-from={IGNORED}")
    return sorted(name for name in tracked - ignored if (root / name).is_file())


def listed(root: Path, *options: str) -> set[str]:
    """Return the files that git lists in a checkout."""
    answer = subprocess.run([*LIST, *options], cwd=root, capture_output=True, text=True, encoding="utf-8", check=False)
    if answer.returncode != 0:
        raise ArchiveError(f"{root}: got an error from git; expected a git checkout. {answer.stderr.strip()}")
    return set(filter(None, answer.stdout.split("\0")))


def write(root: Path, files: list[str], target: Path) -> None:
    """Zip files of the checkout as the registry's tool does."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files:
            archive.write(root / name, name)
