"""Nodes are found by what people type, in each language that the pack speaks."""

from __future__ import annotations

import json

import pytest

from .comfy_page import ComfyPage
from .search_terms import CROWDED, TERMS
from .test_search import NONSENSE, TITLES

# Rows that show without scrolling.
VISIBLE = 10
NAMES = (
    "() => Object.fromEntries(Object.entries(LiteGraph.registered_node_types).map(([id, type]) => [id, type.title]))"
)


@pytest.fixture(params=TERMS)
def language(request, chromium, stage, screenshots):
    """A window in a language, its name, and the titles of nodes by their ids."""
    setting = f"{stage.url}/settings/Comfy.Locale"
    before = chromium.new_context()
    before.request.post(setting, data=json.dumps(request.param))
    page = ComfyPage(chromium, stage.url, screenshots)
    yield page, request.param, page.page.evaluate(NAMES)
    page.screenshot(f"search-{request.param}")
    page.close()
    before.request.post(setting, data=json.dumps("en"))
    before.close()


def rows(page, box, words):
    """Type words; return the titles of the rows."""
    box.fill(NONSENSE)
    page.get_by_test_id("no-results").wait_for()
    box.fill(words)
    page.get_by_test_id("no-results").wait_for(state="detached")
    return page.evaluate(TITLES)


def test_forty_terms_find_their_node(language):
    window, name, titles = language
    page = window.page
    window.use("classic")
    box = page.locator("input[role=combobox]").first
    window.insist(lambda: page.mouse.dblclick(800, 500), lambda timeout: box.wait_for(timeout=timeout))
    shown = {words: rows(page, box, words) for words in TERMS[name]}
    missed = {
        words: shown[words][:VISIBLE]
        for words, node in TERMS[name].items()
        if titles[node] not in shown[words][: None if words in CROWDED else VISIBLE]
    }
    assert missed == {}
    assert len(TERMS[name]) >= 40
