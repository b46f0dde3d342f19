"""The published archive is small, contains only the pack, and works without the rest of the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from PIL import Image
from t2i_adapter_pack.dev.tasks import archive, base_directory, links, paths, registry, server

# Files for ComfyUI and users; everything else in the root is for development.
FILES = {"__init__.py", "pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md"}
FOLDERS = {"common", "adapter_models", "annotators", "nodes", "training", "cli", "web", "locales", "example_workflows"}
SUFFIXES = {".py", ".md", ".js", ".json", ".jpg", ".toml", ""}


@pytest.fixture(scope="module")
def names() -> list[str]:
    return archive.published(paths.ROOT)


@pytest.fixture(scope="module")
def packed(names, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("archive") / "pack.zip"
    archive.write(paths.ROOT, names, target)
    return target


@pytest.fixture(scope="module")
def installed(packed, tmp_path_factory) -> Path:
    """The archive, unpacked into a separate folder."""
    folder = tmp_path_factory.mktemp("installed") / "t2i-adapter"
    with zipfile.ZipFile(packed) as file:
        file.extractall(folder)
    return folder


def test_it_is_small(packed):
    assert packed.stat().st_size < registry.LARGEST


def test_it_holds_the_pack_alone(names):
    tops = {PurePosixPath(name).parts[0] for name in names}
    assert tops <= FILES | FOLDERS
    assert tops >= FILES
    assert {PurePosixPath(name).suffix for name in names} <= SUFFIXES


def test_it_holds_all_of_the_pack(names):
    tracked = archive.listed(paths.ROOT, "--cached")
    of_the_pack = {name for name in tracked if name.partition("/")[0] in FOLDERS and (paths.ROOT / name).is_file()}
    assert of_the_pack <= set(names)
    code = {"common", "adapter_models", "annotators", "nodes", "training"}
    assert {*code, "web"} <= {name.partition("/")[0] for name in names}


def test_the_registrys_tool_finds_every_file(names):
    # It reads git's list as git prints it, where other letters stand in quotes and escapes.
    assert all(name.isascii() and '"' not in name and "\\" not in name for name in names)


def test_the_registrys_linter_is_content(installed):
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        ".",
        "--isolated",
        "--no-cache",
        "-q",
        "--select",
        "S102,S307,E702",
    ]
    answer = subprocess.run(command, cwd=installed, capture_output=True, text=True, check=False)
    assert answer.stdout + answer.stderr == ""


def test_windows_reads_every_file_of_code(installed):
    """With its own code page, as tools there do that name no encoding."""
    for path in installed.rglob("*.py"):
        path.read_text(encoding="utf-8").encode("cp1252")


def test_outside_of_a_checkout_nothing_is_made(tmp_path):
    with pytest.raises(archive.ArchiveError, match="expected a git checkout"):
        archive.published(tmp_path)


def test_what_is_ignored_or_not_tracked_stays_out(tmp_path):
    for name in ("a.py", "docs/b.md", "deep/docs/c.md", "secret.env"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".comfyignore").write_text("# a comment\n/docs/\n.comfyignore\n")
    git = ["git", "-c", "safe.directory=*"]
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([*git, "add", "a.py", "docs", "deep", ".comfyignore"], cwd=tmp_path, check=True)
    assert archive.published(tmp_path) == ["a.py", "deep/docs/c.md"]


@pytest.fixture(scope="module")
def alone(installed, comfyui_path, tmp_path_factory) -> Iterator[Any]:
    """ComfyUI with the archive as its only custom node."""
    base = base_directory.prepare(tmp_path_factory.mktemp("alone") / "base", comfyui_path)
    for link in (base / "custom_nodes").iterdir():
        links.remove(link)
    links.link(installed, base / "custom_nodes" / installed.name)
    with server.ComfyServer(comfyui_path, base, server.device_arguments(), server.ONE_THREAD) as running:
        yield running


@pytest.mark.host
@pytest.mark.slow
def test_it_works_alone(alone, installed, comfyui):
    from t2i_adapter_pack.nodes import NODES

    assert "IMPORT FAILED" not in alone.log.read_text(encoding="utf-8", errors="replace")
    known = alone.get("/object_info")
    ours = {name for name, node in known.items() if node["python_module"] == f"custom_nodes.{installed.name}"}
    assert ours == {node.define_schema().node_id for node in NODES}


def test_icon_and_banner_have_the_shapes_that_the_registry_asks_for():
    icon, banner = (Image.open(paths.ROOT / "docs" / name).size for name in ("icon.png", "banner.png"))
    assert icon[0] == icon[1] <= 400
    assert banner[0] * 9 == banner[1] * 21
