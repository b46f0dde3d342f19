"""Each example workflow runs on the real server, with the miniature in place of the published models."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from t2i_adapter_miniature import measure, scenes
from t2i_adapter_pack.adapter_models.loading import load_adapter_file
from t2i_adapter_pack.dev.demo.templates import catalogue, thumbnails, twins
from t2i_adapter_pack.dev.demo.templates.convert import to_prompt

pytestmark = [pytest.mark.host, pytest.mark.slow]
BY_NAME = {twin.name: twin for twin in twins.TWINS}
# Minimum overlap of the drawn foreground with the scene's shapes. The miniature's measures do not apply to others.
OBEYED = {
    "Draw it here": 0.6,
    "Drawing on paper to picture": 0.6,
    "Keep the edges of a photo": 0.6,
    "Keep the colours of a photo": 0.6,
    "Paint where things are": 0.6,
    "Line art to picture, SDXL": 0.6,
    "Two adapters, shapes and colours": 0.6,
    "Two adapters, balanced by CoAdapter": 0.6,
    "Two prompts side by side": 0.6,
    "Sketch for the composition only": 0.6,
    "Repaint a part of a photo": 0.6,
    "Video in another style": 0.6,
}
ADAPTER_OFF = {("Apply T2I-Adapter", "strength"): 0.0}


@pytest.fixture(scope="module")
def runs(comfy_server, known):
    """Run a twin once for all tests."""
    made = {}

    def run(name):
        if name not in made:
            made[name] = twins.run(comfy_server, BY_NAME[name], known)
        return made[name]

    return run


def pixels(data: bytes) -> torch.Tensor:
    """A file as (H, W, 3) in [0, 1]."""
    with Image.open(io.BytesIO(data)) as picture:
        return torch.from_numpy(np.asarray(picture.convert("RGB")).copy()) / 255


def shown(twin: twins.Twin, run: twins.Run) -> torch.Tensor:
    """The drawn pictures, one per scene: (B, 128, 128, 3)."""
    first = pixels(run.images[twin.result][0])
    return torch.stack(first.split(scenes.SIZE, dim=1))


def obedience(twin: twins.Twin, run: twins.Run) -> float:
    truth = twin.scenes
    if twin.result == "Frames":
        truth = measure.held_out(1, twin.first)
        truth = scenes.Scenes(**{**vars(truth), "centre": truth.centre - torch.tensor([12.0, 0.0])})
    return float(measure.silhouette_iou(shown(twin, run), truth).min())


def test_every_workflow_has_a_twin():
    assert sorted(twin.name for twin in twins.TWINS) == [template.name for template in catalogue.TEMPLATES]


@pytest.mark.parametrize("name", BY_NAME)
def test_it_differs_from_its_workflow_by_names_and_numbers_only(known, name):
    twin = BY_NAME[name]
    original = to_prompt(twin.template.load(), known)
    prompt, _ = twins.prompt_of(twin, known)
    assert prompt.keys() == original.keys()
    for number, node in prompt.items():
        there = original[number]
        assert (node["class_type"], node["_meta"]) == (there["class_type"], there["_meta"])
        assert node["inputs"].keys() == there["inputs"].keys()
        for key, value in node["inputs"].items():
            assert type(value) is type(there["inputs"][key])
            assert not isinstance(value, list) or value == there["inputs"][key], "a link"


@pytest.mark.parametrize("name", BY_NAME)
def test_it_runs_and_pictures_come_out(runs, name):
    run, twin = runs(name), BY_NAME[name]
    drawn = pixels(run.images[twin.result][0])
    assert drawn.std() > 0.02, "something is on it"
    assert all(run.images[title] for title in twin.seen)
    assert thumbnails.thumbnail(twin, run).size == (thumbnails.SIDE, thumbnails.SIDE)


@pytest.mark.parametrize("name", OBEYED)
def test_the_picture_follows_its_condition(runs, name):
    assert obedience(BY_NAME[name], runs(name)) > OBEYED[name]


@pytest.mark.parametrize(
    "name", ["Drawing on paper to picture", "Keep the colours of a photo", "Paint where things are"]
)
def test_without_the_adapter_it_does_not(comfy_server, known, name):
    twin = BY_NAME[name]
    assert obedience(twin, twins.run(comfy_server, twin, known, ADAPTER_OFF)) < 0.4


def test_inpainting_leaves_alone_what_is_not_masked(runs):
    twin = BY_NAME["Repaint a part of a photo"]
    truth, drawn = measure.truth(twin.scenes)[0], shown(twin, runs(twin.name))[0]
    with Image.open(io.BytesIO(runs(twin.name).images["Picture with a mask"][0])) as picture:
        kept = torch.from_numpy(np.asarray(picture.getchannel("A")).copy()) == 255
    changed = (drawn - truth).abs().mean(-1)
    # The autoencoder alone changes a little everywhere, and its pixels share latents at the mask's edge.
    assert changed[kept].mean() < 0.03
    assert changed[~kept].mean() > 0.1


def test_training_leaves_an_adapter_of_the_asked_kind(comfy_server, runs):
    runs("Train your own adapter")
    saved = max((comfy_server.base / "output" / "t2i_adapter").glob("my_canny*.safetensors"))  # others may have run it
    _, info = load_adapter_file(saved)
    assert (info.condition.name, info.dtype) == ("canny", "float16")


def test_the_video_has_a_frame_for_each_of_the_given(runs):
    run = runs("Video in another style")
    assert len(run.images["Frames"]) == len(run.images["T2I Canny Edges"]) == 4
    (video,) = run.images["Save Video"]
    assert b"ftyp" in video[:16]
