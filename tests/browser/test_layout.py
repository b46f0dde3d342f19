"""Every example workflow is tidy and legible when it opens, in both renderers and with the page's own settings."""

from __future__ import annotations

from itertools import combinations

import pytest
from t2i_adapter_pack.dev.demo.templates import catalogue
from t2i_adapter_pack.dev.demo.templates import page as measuring

# Below, the classic renderer hides all texts.
LEGIBLE = 0.6
FONT = "LiteGraph.Canvas.MinFontSizeForLOD"
DEFAULT_FONT = 8
GROUPS = """() => app.graph.groups.map(({boundingRect: [x, y, width, height]}) => [x, y, x + width, y + height])"""
SHOWING = "() => app.graph.nodes.map((node) => Number(node.id)).filter((id) => app.nodeOutputs[id])"
SCALE = "() => app.canvas.ds.scale"
SET = "([name, value]) => app.extensionManager.setting.set(name, value)"
# A pixel for rounding.
SLACK = 1
LINE = 12


@pytest.fixture
def page(page):
    """The page with its own least size of texts, which other tests change."""
    before = page.page.evaluate("(name) => app.extensionManager.setting.get(name)", FONT)
    page.page.evaluate(SET, [FONT, DEFAULT_FONT])
    yield page
    page.page.evaluate(SET, [FONT, before])


def inside(box, outer):
    return all(box[side] >= outer[side] - SLACK for side in (0, 1)) and all(
        box[side] <= outer[side] + SLACK for side in (2, 3)
    )


def overlap(box, other):
    return all(box[axis] < other[axis + 2] - SLACK and other[axis] < box[axis + 2] - SLACK for axis in (0, 1))


@pytest.mark.parametrize("template", catalogue.TEMPLATES, ids=lambda one: one.name)
def test_nodes_lie_apart_and_inside_groups_and_texts_are_legible(template, page):
    page.page.evaluate(measuring.OPEN, [template.load(), template.name])
    measuring.settle(page.page)
    assert page.page.evaluate(SCALE) >= LEGIBLE
    boxes = page.page.evaluate(measuring.BOXES)
    groups = page.page.evaluate(GROUPS)
    first = str(template.load()["nodes"][0]["id"])
    note = boxes.pop(first)
    assert [one for one in combinations([note, *groups], 2) if overlap(*one)] == []
    assert [one for one in combinations(boxes.items(), 2) if overlap(one[0][1], one[1][1])] == []
    assert [node for node, box in boxes.items() if not any(inside(box, group) for group in groups)] == []
    hidden = page.page.evaluate(measuring.HIDDEN)
    assert hidden[first] < LINE, "the note shows all of its text"


def test_a_result_that_arrives_after_a_change_of_tabs_is_shown_on_no_node(page):
    """The page gives it to the node of the same number in whichever workflow is open."""
    before, after = catalogue.TEMPLATES[:2]
    page.page.evaluate(measuring.OPEN, [after.load(), after.name])
    measuring.settle(page.page)
    own = page.page.evaluate(SHOWING)  # of Load Image
    picture = {"images": [{"filename": "example.png", "subfolder": "", "type": "input"}]}
    page.page.evaluate(measuring.SHOW, {str(node["id"]): picture for node in before.load()["nodes"]})
    assert page.page.evaluate(SHOWING) == own
    last = after.load()["nodes"][-1]["id"]
    page.page.evaluate(measuring.SHOW, {str(last): picture})
    assert page.page.evaluate(SHOWING) == [*own, last]
