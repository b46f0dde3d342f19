"""Undo, copy and paste of nodes, especially of the one with dynamic inputs."""

from __future__ import annotations

import pytest

from . import graphs
from .test_search import NODES

KIND = "T2IAdapterWeights"
FRESH = {"preset": "uniform", "positive": 1, "negative": 1}
ADD = """(kind) => {
    const node = LiteGraph.createNode(kind)
    app.graph.add(node)
    node.pos = [300, 300]
    return node.id
}"""
# Centre of a widget in the classic renderer, in the window's pixels.
WIDGET_AT = """([id, name]) => {
    const node = app.graph.getNodeById(id)
    const widget = node.widgets.find((widget) => widget.name === name)
    const [x, y] = app.canvas.ds.convertOffsetToCanvas([node.pos[0] + node.size[0] / 2, node.pos[1] + widget.y + 10])
    const {left, top} = app.canvas.canvas.getBoundingClientRect()
    return [x + left, y + top]
}"""
# A value of the same type as a widget's, but different.
CHANGE = """() => {
    const node = app.graph.nodes[0]
    for (const widget of node.widgets ?? []) {
        const {values, min, max} = widget.options
        if (Array.isArray(values) && values.length) widget.value = values.at(-1)
        else if (typeof widget.value === 'number') widget.value = widget.value === min ? max : min
        else if (typeof widget.value === 'boolean') widget.value = !widget.value
        else if (typeof widget.value === 'string') widget.value = 'changed'
    }
}"""


def choose(page, node, name, value):
    """Choose an entry of a combo with the mouse."""
    if page.is_vue:
        page.drawn(node).get_by_role("combobox").first.click()
        page.page.get_by_role("option", name=value, exact=True).click()
    else:
        page.page.mouse.click(*page.page.evaluate(WIDGET_AT, [node, name]))
        page.page.locator(".litemenu-entry", has_text=value).click()


def type_number(page, node, name, value):
    """Type a number into a widget."""
    if page.is_vue:
        (values,) = page.values(KIND)
        numbers = [each for each in values if each not in ("preset", "positive")]  # a combo, and a folded one
        box = page.drawn(node).get_by_role("spinbutton").nth(numbers.index(name))
    else:
        page.page.mouse.click(*page.page.evaluate(WIDGET_AT, [node, name]))
        box = page.page.locator(".graphdialog input")
    box.fill(str(value))
    box.press("Enter")


def step_until(page, command, wanted, most=8):
    """Undo or redo until the widgets have the wanted values; the number of steps per click depends on the page.

    Uses the menu's command, not keys: with Nodes 2.0 the page checks for changes at each key, and takes a restored node
    with another size for a change.
    """
    for _ in range(most):
        page.page.evaluate("(command) => app.extensionManager.command.execute(command)", command)
        page.settle()
        if page.values(KIND) == wanted:
            return
    assert page.values(KIND) == wanted


def test_dynamic_inputs_survive_undo_redo_copy_and_paste(page):
    page.open({"weights": {"class_type": KIND, "inputs": FRESH, "_meta": {"title": "Weights"}}})
    assert page.values(KIND) == [FRESH]
    node = page.node("Weights")
    choose(page, node, "preset", "custom")
    type_number(page, node, "preset.level_2", 0.25)
    type_number(page, node, "negative", 0.5)
    changed = {**dict.fromkeys(graphs.LEVELS, 1), **FRESH, "preset": "custom", "preset.level_2": 0.25, "negative": 0.5}
    page.page.wait_for_function("() => app.graph.nodes[0].widgets.at(-1).value === 0.5")
    assert page.values(KIND) == [changed]

    page.show_all()
    page.settle()
    page.select(node)
    page.press("Control+c", "Control+v")
    page.page.wait_for_function("() => app.graph.nodes.length === 2")
    page.settle()
    assert page.values(KIND) == [changed, changed]
    page.screenshot(f"copied-{page.is_vue}")
    step_until(page, "Comfy.Undo", [changed])
    step_until(page, "Comfy.Undo", [FRESH])
    step_until(page, "Comfy.Redo", [changed, changed])


@pytest.mark.parametrize("kind", NODES)
def test_a_copy_has_the_values_of_its_original(kind, classic):
    page = classic.page
    node = page.evaluate(ADD, kind)
    classic.show_all()
    page.evaluate(CHANGE)
    (changed,) = classic.values(kind) if page.evaluate("() => app.graph.nodes[0].widgets?.length") else ({},)
    classic.select(str(node))
    classic.press("Control+c", "Control+v")
    page.wait_for_function("() => app.graph.nodes.length === 2")
    if changed:
        assert classic.values(kind) == [changed, changed]
