"""Nodes show their texts: mistakes of the user and errors, until the node runs again."""

from __future__ import annotations

from typing import Any

from . import graphs
from .conftest import WRONG_FAMILY

TEXT = "$$node-text-preview"
SHOWN = """([title, name]) => app.graph.nodes.find((node) => node.title === title)
    .widgets.find((widget) => widget.name === name)?.value ?? ''"""
BRIGHT = "The condition image shows a bright ground"


def apply_title(workflow: dict[str, Any]) -> str:
    return next(node["_meta"]["title"] for node in workflow.values() if node["class_type"] == "ApplyT2IAdapter")


def inverted(workflow: dict[str, Any]) -> dict[str, Any]:
    """The workflow with black lines on white."""
    apply = next(node for node in workflow.values() if node["class_type"] == "ApplyT2IAdapter")
    invert = {"class_type": "ImageInvert", "inputs": {"image": apply["inputs"]["image"]}, "_meta": {"title": "Invert"}}
    workflow["invert"] = invert
    apply["inputs"]["image"] = ["invert", 0]
    return workflow


def test_a_mistake_is_told_on_the_node_until_it_is_mended(page):
    workflow = inverted(graphs.drawing())
    title = apply_title(workflow)
    page.open(workflow)
    assert page.run()["events"][-1][0] == "execution_success"
    page.page.wait_for_timeout(500)  # newer frontends clear texts when a job ends
    assert page.page.evaluate(SHOWN, [title, TEXT]).startswith(BRIGHT)
    page.page.get_by_text(BRIGHT).first.wait_for()
    page.screenshot(f"a-mistake-{page.is_vue}")
    # The node is cached in the second run, and the mistake stays.
    page.page.evaluate("() => { app.graph.nodes.find((node) => node.title === 'Sampler').widgets[0].value += 1 }")
    page.run()
    page.page.wait_for_timeout(500)
    assert page.page.evaluate(SHOWN, [title, TEXT]).startswith(BRIGHT)
    page.page.evaluate("() => { app.graph.nodes.find((node) => node.title === 'Invert').mode = 4 }")  # bypassed
    page.run()
    page.page.wait_for_timeout(500)
    assert page.page.evaluate(SHOWN, [title, TEXT]) == ""


def test_an_error_is_told_on_its_node(page):
    workflow = graphs.drawing(adapter_name=f"{WRONG_FAMILY}.safetensors")
    page.open(workflow)
    assert page.run()["events"][-1][0] == "execution_error"
    page.page.wait_for_timeout(500)
    told = page.page.evaluate(SHOWN, [apply_title(workflow), TEXT])
    assert told.startswith("This adapter is for SDXL")
    assert "\n" not in told
    page.page.get_by_text(told).first.wait_for()


def canny(workflow: dict[str, Any]) -> dict[str, Any]:
    """The workflow with an annotator between the image and Apply, which shows the image as used."""
    apply = next(node for node in workflow.values() if node["class_type"] == "ApplyT2IAdapter")
    edges = {"class_type": "T2IAnnotateCanny", "inputs": {"image": apply["inputs"]["image"]}}
    workflow["edges"] = {**edges, "_meta": {"title": "Edges"}}
    apply["inputs"].update(image=["edges", 0], show_image=True)
    return workflow


def test_annotators_and_apply_show_their_images(page):
    workflow = canny(graphs.drawing())
    page.open(workflow)
    for _ in range(2):  # the annotator and Apply are cached in the second run
        assert page.run()["events"][-1][0] == "execution_success"
        for title in ("Edges", apply_title(workflow)):
            page.shown(page.node(title))
        page.page.evaluate("() => { app.graph.nodes.find((node) => node.title === 'Sampler').widgets[0].value += 1 }")
    shown = page.pictures()
    edges, used = (shown[page.node(title)][0] for title in ("Edges", apply_title(workflow)))
    assert edges.shape == used.shape == (128, 128, 3)
    assert abs(edges.astype(float) - used).mean() < 3
