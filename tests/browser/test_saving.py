"""A workflow that is saved, reopened and run draws the same picture."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from . import graphs
from .comfy_page import ComfyPage


def saved_picture(page) -> np.ndarray:
    """Run, and return the one picture."""
    seen = page.run()
    assert seen["events"][-1][0] == "execution_success"
    ((picture,),) = page.pictures().values()
    return picture


def test_saved_reopened_and_run_again(page, chromium, stage, screenshots, request):
    page.open(graphs.drawing(weights=graphs.CUSTOM))
    before = saved_picture(page)
    name = f"my sketch {request.node.callspec.id}"
    page.press("Control+s")
    page.page.get_by_role("textbox", name="Enter the filename").fill(name)
    page.press("Enter")
    page.page.wait_for_function(
        "(name) => app.extensionManager.workflow.activeWorkflow.path.endsWith(`${name}.json`)", arg=name
    )

    another_day = ComfyPage(chromium, stage.url, screenshots)
    another_day.use(request.node.callspec.params["page"])
    another_day.press("w")
    another_day.page.get_by_text(name, exact=True).click()
    another_day.page.wait_for_function("() => app.graph.nodes.length > 5")
    assert another_day.values("T2IAdapterWeights") == [graphs.CUSTOM]
    assert another_day.complaints() == []
    # A different seed first: with the same inputs nothing would run.
    another_day.page.evaluate("() => { app.graph.nodes.find((n) => n.type === 'KSampler').widgets[0].value = 7 }")
    assert not np.array_equal(saved_picture(another_day), before)
    another_day.page.evaluate("() => { app.graph.nodes.find((n) => n.type === 'KSampler').widgets[0].value = 1 }")
    after = saved_picture(another_day)
    another_day.screenshot(f"reopened-{request.node.callspec.id}")
    another_day.close()
    assert np.array_equal(after, before)


def test_a_picture_dropped_onto_the_page_brings_its_workflow(classic, stage):
    classic.open(graphs.drawing(weights=graphs.CUSTOM))
    saved_picture(classic)
    save = "() => app.nodeOutputs[app.graph.nodes.find((node) => node.type === 'SaveImage').id].images[0]"
    answer = classic.context.request.get(f"{stage.url}/view", params=classic.page.evaluate(save))
    assert "workflow" in Image.open(io.BytesIO(answer.body())).info
    before = classic.prompt()
    classic.use("classic")
    assert classic.prompt() == {}
    classic.page.evaluate(
        """async (bytes) => {
            const file = new File([new Uint8Array(bytes)], 'picture.png', {type: 'image/png'})
            await app.handleFile(file)
        }""",
        list(answer.body()),
    )
    classic.show_all()
    assert classic.prompt() == before
