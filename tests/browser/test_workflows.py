"""Every example workflow opens in the real page without errors, runs, and shows its progress and picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from t2i_adapter_pack.dev.demo.templates import twins

from .comfy_page import RENDERERS

EXAMPLES = Path(__file__).absolute().parents[2] / "example_workflows"
STEPS = 4
# The page's video player adds itself to the prompt; the server has no such input.
PLAYER = "video-preview"
PUT = """(prompt) => {
    for (const [id, {inputs}] of Object.entries(prompt))
        for (const [name, value] of Object.entries(inputs)) {
            const widget = app.graph.getNodeById(id).widgets?.find((widget) => widget.name === name)
            if (widget && !Array.isArray(value)) widget.value = value
        }
}"""


def documents() -> list[dict[str, Any]]:
    """The workflow files."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(EXAMPLES.glob("*.json"))]


@pytest.fixture(scope="module")
def stage(stage) -> Any:
    """A server with small stand-ins for all files that the workflows name."""
    known = twins.prepare(stage)
    models, pictures = Path(stage.base, "models"), Path(stage.base, "input")
    nodes = [node for document in documents() for node in document["nodes"]]
    for file in (file for node in nodes for file in node["properties"].get("models", ())):
        place = models / file["directory"] / file["name"]
        place.parent.mkdir(parents=True, exist_ok=True)
        stand_in = next(models.glob(f"*/{twins.NAMES[file['name']]}"), None) if file["name"] in twins.NAMES else None
        place.write_bytes(stand_in.read_bytes() if stand_in else b"")  # those of bypassed nodes are never opened
    for twin in twins.TWINS:
        _, files = twins.prompt_of(twin, known)
        for name, data in files.items():
            (pictures / name).write_bytes(data)
    for node in nodes:
        if node["type"] in ("LoadImage", "LoadVideo"):
            name = node["widgets_values"][0]
            example = next(pictures.glob(f"*-*{Path(name).suffix}"))
            (pictures / name).write_bytes(example.read_bytes())
    return stage


def test_every_workflow_has_a_twin_here():
    assert {twin.name for twin in twins.TWINS} == {path.stem for path in EXAMPLES.glob("*.json")}


@pytest.mark.parametrize("name", [twin.name for twin in twins.TWINS])
def test_an_example_opens_and_runs_and_shows_its_picture(name, page, stage, request):
    twin = next(twin for twin in twins.TWINS if twin.name == name)
    page.open(twin.template.load(), name)
    assert page.complaints() == []
    prompt, _ = twins.prompt_of(twin, twins.Definitions(stage.get("/object_info")))
    renderer = list(RENDERERS).index(request.node.callspec.params["page"])
    for node in prompt.values():
        if node["class_type"] == "KSampler":  # a seed of its own, or the second renderer would have nothing to do
            node["inputs"].update(steps=STEPS, seed=renderer)
        if node["class_type"] == "TrainT2IAdapter":
            node["inputs"].update(steps=STEPS, run_name=f"browser-{renderer}")
    page.page.evaluate(PUT, prompt)
    sent = page.prompt()
    for number, node in sent.items():
        node["inputs"].pop(PLAYER, None)
        node["_meta"] = {key: node["_meta"][key] for key in prompt[number]["_meta"]}  # newer pages add the pack's name
    assert sent == prompt

    seen = page.run()
    assert seen["events"][-1][0] == "execution_success"
    steps = [detail["value"] / detail["max"] for kind, detail in seen["events"] if kind == "progress"]
    assert any(0 < step < 1 for step in steps)
    assert any("%]" in title for title in seen["titles"])
    result = page.node(twin.result)
    page.show_all()
    page.shown(result)
    assert all(picture.std() > 1 for picture in page.pictures()[result])  # not of one colour
    assert page.complaints() == []


def test_a_training_saved_before_its_newer_widgets_opens_with_its_values(page):
    """The file without the last inputs and their values, as older versions wrote it."""
    newer = {"held_out_share": 0.0, "validate_every": 100, "lr_scheduler": "constant", "lr_warmup_steps": 0}
    document = next(one for one in documents() if any(node["type"] == "TrainT2IAdapter" for node in one["nodes"]))
    node = next(node for node in document["nodes"] if node["type"] == "TrainT2IAdapter")
    page.open(document, "new")
    (whole,) = page.values("TrainT2IAdapter")
    node["inputs"] = [one for one in node["inputs"] if one["name"] not in newer]
    node["widgets_values"] = node["widgets_values"][: -len(newer)]
    page.open(document, "old")
    assert page.values("TrainT2IAdapter") == [whole]
    assert {name: whole[name] for name in newer} == newer
    assert whole["learning_rate"] == node["widgets_values"][2]
    assert page.complaints() == []
