"""The demo's address opens a template to draw in, and what is drawn there is what the adapter gets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from t2i_adapter_pack.dev.demo import served
from t2i_adapter_pack.dev.demo.templates.definitions import Definitions

from .comfy_page import LATER, WATCH

STEPS = 3
TYPES = "() => app.graph.nodes.map((node) => node.type)"
FEW_STEPS = """(steps) => {
    const sampler = app.graph.nodes.find((node) => node.type === 'KSampler')
    sampler.widgets.find((widget) => widget.name === 'steps').value = steps
}"""


@pytest.fixture
def drawing(window, stage):
    """A new user's page at the demo's address."""
    served.prepare(Path(stage.base), Path(os.environ["COMFYUI_PATH"]))
    window.use("Nodes 2.0")
    window.page.goto(served.address(stage.url))
    window.page.wait_for_function(f"() => window.app?.vueAppReady && ({TYPES})().includes('Painter')", timeout=LATER)
    window.page.evaluate(WATCH)
    return window


def test_its_file_is_that_of_the_templates_command(stage):
    assert served.PATH.read_text(encoding="utf-8") == served.text(Definitions(stage.get("/object_info")))


def test_a_drawing_made_in_the_page_is_the_condition(drawing):
    assert drawing.complaints() == []
    drawing.page.evaluate(FEW_STEPS, STEPS)
    painter = drawing.drawn(drawing.node("Draw here"))
    canvas = painter.locator("canvas").first
    canvas.wait_for()
    assert drawing.run()["events"][-1][0] == "execution_success"
    before = drawing.pictures()[drawing.node("Draw here")][0]
    assert before.std() > 1, "the drawing to start from"

    painter.get_by_text("Clear").click()
    box = canvas.bounding_box()
    at = [(box["x"] + box["width"] * x, box["y"] + box["height"] * 0.5) for x in (0.2, 0.8)]
    drawing.page.mouse.move(*at[0])
    drawing.page.mouse.down()
    drawing.page.mouse.move(*at[1], steps=10)
    drawing.page.mouse.up()
    assert drawing.run()["events"][-1][0] == "execution_success"
    drawn = drawing.pictures()[drawing.node("Draw here")][0]
    lit = np.argwhere(drawn.max(-1) > 127) / drawn.shape[:2]
    (top, left), (bottom, right) = lit.min(0), lit.max(0)
    assert (top > 0.4, bottom < 0.6, left < 0.25, right > 0.75) == (True,) * 4, "a line from left to right"
    assert drawing.pictures()[drawing.node("Save")][0].std() > 1
    drawing.screenshot("drawn-in-the-page")
