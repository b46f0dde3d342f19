"""Translated help pages: the inputs, pictures and numbers of the English page, and the names that the graph shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest
import t2i_adapter_pack
from t2i_adapter_pack.dev.tasks import locales

pytestmark = pytest.mark.host
PAGES = Path(t2i_adapter_pack.__file__).parent / t2i_adapter_pack.WEB_DIRECTORY / "docs"
# The ten nodes that users need most.
TRANSLATED = (
    "LoadT2IAdapter",
    "ApplyT2IAdapter",
    "CombineT2IAdapters",
    "T2IAnnotateFor",
    "T2IAnnotateCanny",
    "T2ICleanSketch",
    "T2IAnnotateSketch",
    "T2IAnnotateDepth",
    "T2IAnnotateColor",
    "T2IDrawPose",
)
# Bold words, and the letter right behind them.
BOLD = re.compile(r"\*\*([^*]+)\*\*(\w?)")
pages = pytest.mark.parametrize("node", TRANSLATED)


@pytest.fixture(params=locales.TRANSLATED)
def language(request) -> str:
    return request.param


def english(node: str) -> str:
    return (PAGES / f"{node}.md").read_text(encoding="utf-8")


def translated(node: str, language: str) -> str:
    return (PAGES / node / f"{language}.md").read_text(encoding="utf-8")


def texts(language: str) -> dict[str, Any]:
    found: dict[str, Any] = locales.load(language)[locales.NODES_FILE]
    return found


def code(text: str) -> set[str]:
    """Return the words in backticks that are the same in every language: names of inputs, values, files, messages."""
    return {
        word for word in re.findall(r"`([^`]+)`", text) if not re.fullmatch(r"(?:[A-Z][\w ]+|.*[^\x00-\x7f…≤].*)", word)
    }


def test_ten_nodes_have_pages_in_every_language():
    found = {path.relative_to(PAGES).as_posix() for path in PAGES.glob("*/*.md")}
    assert found == {f"{node}/{language}.md" for node in TRANSLATED for language in locales.TRANSLATED}


@pages
def test_a_page_is_complete(node, language):
    ours, theirs = english(node), translated(node, language)
    assert len(re.findall(r"^## ", ours, re.MULTILINE)) == len(re.findall(r"^## ", theirs, re.MULTILINE))
    assert len(re.findall(r"^ *- ", ours, re.MULTILINE)) == len(re.findall(r"^ *- ", theirs, re.MULTILINE))
    assert re.findall(r"\]\((pictures/[^)]+)\)", ours) == re.findall(r"\]\((pictures/[^)]+)\)", theirs)
    assert code(ours) <= code(theirs)
    assert set(re.findall(r"\d+(?:\.\d+)?", ours)) - set(re.findall(r"\d+(?:\.\d+)?", theirs)) == set()


@pages
def test_a_page_has_the_names_that_the_graph_shows(node, language):
    text, own = translated(node, language), texts(language)
    assert text.splitlines()[0] == f"# {own[node]['display_name']}"
    for name, entry in own[node]["inputs"].items():
        assert f"{entry['name']} `{name}`" in text, name
    names = {entry["display_name"] for entry in own.values()}
    short = {re.split(r" ?[(（]", name)[0] for name in names}
    for bold, _ in BOLD.findall(text):
        if "T2I" in bold or "CoAdapter" in bold:
            assert bold in names | short, bold


@pages
def test_a_page_folds_its_errors_and_closes_its_bold_words(node, language):
    text = translated(node, language)
    assert re.search(r"\n\n<details><summary>[^<\n]+</summary>\n\n- .+\n\n</details>\n$", text, re.DOTALL)
    assert "\n|" not in text
    # Stars between a bracket and a letter close nothing: the page shows them.
    assert [words for words, behind in BOLD.findall(text) if behind and not words[-1].isalnum()] == []


def test_the_server_serves_a_translated_page(comfy_server, language):
    info = comfy_server.get("/object_info/ApplyT2IAdapter")["ApplyT2IAdapter"]
    folder = info["python_module"].partition(".")[2]
    address = f"{comfy_server.url}/extensions/{folder}/docs/ApplyT2IAdapter/{language}.md"
    with build_opener(ProxyHandler({})).open(address, timeout=30) as answer:
        assert answer.read().decode() == translated("ApplyT2IAdapter", language)
