"""pyproject.toml as read by ComfyUI's own reader: the registry's texts, and the supported versions."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from t2i_adapter_pack.dev.tasks import frontend, locate, paths

pytestmark = pytest.mark.host
# What ComfyUI 0.20.1 asks for in its requirements.
OLDEST_FRONTEND = "1.42.15"


@pytest.fixture(scope="module")
def project(comfyui) -> Any:
    from comfy_config.config_parser import extract_node_configuration

    return extract_node_configuration(str(paths.ROOT))


def frontends() -> SpecifierSet:
    """The frontends that pyproject.toml names. ComfyUI's reader takes the entry out of the dependencies."""
    return SpecifierSet(entry(rf'dependencies = \["{frontend.PACKAGE}([^"]+)"\]'))


def entry(pattern: str) -> str:
    """What a line of pyproject.toml has in the place of the group. ComfyUI's reader does not give all of them."""
    text = (paths.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.search(f"^{pattern}$", text, re.MULTILINE)[1]


def test_the_project_is_what_the_registry_asks_for(project):
    assert re.fullmatch(r"[a-z][a-z0-9._-]{0,99}", project.project.name)
    assert "comfyui" not in project.project.name
    assert re.fullmatch(r"\d+\.\d+\.\d+", project.project.version)
    assert project.project.description
    assert project.tool_comfy.publisher_id
    assert project.tool_comfy.display_name == "T2I-Adapter"


def test_the_version_is_the_changelogs_newest(project):
    text = (paths.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\d+\.\d+\.\d+)", text, re.MULTILINE)[1] == project.project.version


@pytest.mark.parametrize("kind", ["Icon", "Banner"])
def test_the_pictures_are_files_of_the_repository(project, kind):
    owner = project.project.urls.repository.removeprefix("https://github.com/")
    path = entry(rf'{kind} = "https://raw.githubusercontent.com/{owner}/main/(.+)"')
    assert (paths.ROOT / path).is_file()


def test_nothing_is_installed_for_anyone(project):
    assert [name for name in project.project.dependencies if not name.startswith(frontend.PACKAGE)] == []


def test_the_frontends_include_every_hosts_own_and_the_newest():
    allowed = frontends()
    assert importlib.metadata.version(frontend.PACKAGE) in allowed
    assert OLDEST_FRONTEND in allowed
    assert frontend.NEWEST in allowed
    assert "1.42.14" not in allowed
    # The registry accepts only versions of three parts.
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", part.version) for part in allowed)


def test_the_oldest_comfyui_has_the_oldest_frontend(comfyui):
    text = (comfyui.path / "requirements.txt").read_text(encoding="utf-8")
    pinned = re.search(rf"^{frontend.PACKAGE}==(\S+)$", text, re.MULTILINE)[1]
    assert pinned in frontends()
    if locate.version_of(comfyui.path) == locate.numbers(locate.OLDEST.version):
        assert pinned == OLDEST_FRONTEND
