"""Every node is found in ComfyUI's search by its name and by every alias, and a click adds it."""

from __future__ import annotations

from pathlib import Path

import pytest

NODES = sorted(path.stem for path in Path(__file__).absolute().parents[2].joinpath("web", "docs").glob("*.md"))
NONSENSE = "qzqzqz"
TITLES = "() => [...document.querySelectorAll('[data-testid=result-item]')].map((row) => row.innerText.split('\\n')[0])"
HAS = f"(title) => ({TITLES})().includes(title)"


def look_up(page, box, words, title):
    """Type words, and return the row with this title, or None."""
    box.fill(NONSENSE)  # so that an earlier result is not mistaken for this one
    page.get_by_test_id("no-results").wait_for()
    box.fill(words)
    page.get_by_test_id("no-results").wait_for(state="detached")
    titles = page.evaluate(TITLES)
    return titles.index(title) if title in titles else None


@pytest.mark.parametrize("node_id", NODES)
def test_a_node_is_found_by_each_of_its_aliases_and_added(node_id, classic, stage):
    info = stage.get(f"/object_info/{node_id}")[node_id]
    title, page = info["display_name"], classic.page
    box = page.get_by_role("combobox", name="Add a node...")
    classic.insist(lambda: page.mouse.dblclick(800, 500), lambda timeout: box.wait_for(timeout=timeout))
    # Those of other languages: test_search_languages.py.
    words = [node_id, title, *filter(str.isascii, info["search_aliases"])]
    rows = {word: look_up(page, box, word, title) for word in words}
    assert [word for word, row in rows.items() if row is None] == []
    page.get_by_test_id("result-item").nth(rows[words[-1]]).click()
    box.wait_for(state="detached")
    page.wait_for_function("() => app.graph.nodes[0]?.flags.ghost")  # the new node follows the pointer
    page.mouse.move(700, 400)
    page.mouse.click(700, 400)
    page.wait_for_function("() => app.graph.nodes.length === 1 && !app.graph.nodes[0].flags.ghost")
    assert page.evaluate("() => app.graph.nodes[0].type") == node_id
