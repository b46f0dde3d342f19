"""Bypass and mute: what a bypassed node passes on, and the resulting pictures."""

from __future__ import annotations

import numpy as np
import pytest

from . import graphs
from .test_search import NODES

# For each node, its output while bypassed, and the input that is passed through.
PASSES: dict[str, dict[str, str]] = {
    "ApplyT2IAdapter": {"model": "model"},
    "ApplyT2IStyleAdapter": {"conditioning": "conditioning"},
    "CombineT2IAdapters": {"model": "model", "positive": "positive"},
    "CreateT2IAdapter": {"adapter": "start_from"},
    "LoadCoAdapterFuser": {},
    "LoadT2IAdapter": {},
    "LoadT2IStyleAdapter": {},
    "PreviewT2IAdapterFeatures": {"images": "image"},
    "SaveT2IAdapter": {},
    "T2IAdapterInfo": {"adapter": "adapter"},
    "T2IAdapterSchedule": {"weights": "weights"},
    "T2IAdapterToControlNet": {},
    "T2IAdapterWeights": {"weights": "weights"},
    "T2IAnnotateCanny": {"image": "image"},
    "T2IAnnotateColor": {"image": "image"},
    "T2IAnnotateDepth": {"image": "image"},
    "T2IAnnotateFor": {"image": "image"},
    "T2IAnnotateGray": {"image": "image"},
    "T2IAnnotateLineart": {"image": "image"},
    "T2IAnnotateSegmentation": {"image": "image"},
    "T2IAnnotateSketch": {"image": "image"},
    "T2IAnnotateSoftEdge": {"image": "image"},
    "T2ICleanSketch": {"image": "image"},
    "T2IDetectPose": {"image": "image"},
    "T2IDrawPose": {},
    "T2INormalizeDepth": {"image": "image"},
    "T2IPaintSegmentation": {"image": "canvas"},
    "TrainT2IAdapter": {"adapter": "adapter"},
}
NORMAL, MUTED, BYPASSED = 0, 2, 4

# The node between a source per input and a consumer per output; returns which source each consumer gets.
AMONG_OTHERS = """async ([kind, sources, consumers, mode]) => {
    app.graph.clear()
    const add = (kind) => { const node = LiteGraph.createNode(kind); app.graph.add(node); return node }
    const node = add(kind)
    const inputOf = {}
    node.inputs.forEach((input, index) => {
        if (input.widget) return
        const [kind, slot] = sources[input.type]
        const source = add(kind)
        inputOf[source.id] = input.name
        source.connect(slot, node, index)
    })
    const links = node.outputs.map((output, slot) => {
        const [kind, input] = consumers[output.type]
        const consumer = add(kind)
        node.connect(slot, consumer, consumer.findInputSlot(input))
        return [output.name, consumer.id, input]
    })
    node.mode = mode
    const {output} = await app.graphToPrompt()
    return Object.fromEntries(links
        .map(([name, id, input]) => [name, output[id].inputs[input]])
        .filter(([name, link]) => Array.isArray(link))
        .map(([name, link]) => [name, inputOf[link[0]] ?? 'the node itself']))
}"""


@pytest.fixture(scope="module")
def others(stage):
    """For each socket type, a node and output that produce it, and a node and input that accept it."""
    sources, consumers = {}, {}
    for kind, info in stage.get("/object_info").items():
        for slot, output in enumerate(info["output"]):
            sources.setdefault(output, [kind, slot])
        for name, (socket, *_) in {**info["input"].get("required", {}), **info["input"].get("optional", {})}.items():
            if isinstance(socket, str):
                consumers.setdefault(socket, [kind, name])
    return sources, consumers


@pytest.mark.parametrize("kind", NODES)
def test_a_bypassed_node_hands_on_what_it_changes_and_a_muted_one_nothing(kind, classic, others, stage):
    def arriving(mode):
        return classic.page.evaluate(AMONG_OTHERS, [kind, *others, mode])

    outputs = stage.get(f"/object_info/{kind}")[kind]["output_name"]
    assert arriving(NORMAL) == dict.fromkeys(outputs, "the node itself")
    assert arriving(BYPASSED) == PASSES[kind]
    assert arriving(MUTED) == {}


def picture(page):
    """Run, and return the one picture."""
    seen = page.run()
    assert seen["events"][-1][0] == "execution_success"
    ((picture,),) = page.pictures().values()
    return picture


def test_pictures_with_a_node_bypassed_or_muted(page):
    drawn = {}
    for name, graph in (
        ("plain", graphs.drawing(adapter=False)),
        ("adapter", graphs.drawing()),
        ("weights", graphs.drawing(weights=graphs.CUSTOM)),
    ):
        page.open(graph)
        drawn[name] = picture(page)
    different = [
        np.array_equal(drawn[one], drawn[other]) for one, other in (("plain", "adapter"), ("adapter", "weights"))
    ]
    assert different == [False, False]

    weights, apply = page.node("Weights"), page.node("Apply the adapter")
    for key in ("Control+b", "Control+m"):
        page.select(weights)
        page.press(key)
        assert np.array_equal(picture(page), drawn["adapter"])
        page.press(key)
    page.select(apply)
    page.press("Control+b")
    assert np.array_equal(picture(page), drawn["plain"])
    page.screenshot(f"bypassed-{'vue' if page.is_vue else 'classic'}")
    page.press("Control+b")
    assert np.array_equal(picture(page), drawn["weights"])


def test_without_the_muted_adapter_the_sampler_says_what_it_lacks(classic):
    classic.open(graphs.drawing())
    classic.select(classic.node("Apply the adapter"))
    classic.press("Control+m")
    classic.click_run()
    panel = classic.errors_panel()
    panel.get_by_text("Sampler").first.wait_for()
    assert "model" in panel.inner_text()
