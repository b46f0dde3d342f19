"""The annotators' nodes in the real ComfyUI: contract, batches, progress, cancel, errors."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

pytestmark = pytest.mark.host
IMAGE, RESOLUTION = ("image", "IMAGE", None), ("resolution", "INT", 0)
SIZE = [("width", "INT", 0), ("height", "INT", 0), ("latent", "LATENT", None)]
# Saved workflows and API prompts depend on these: append, never rename or reorder.
CONTRACT: dict[str, tuple[str, list[tuple[str, str, Any]]]] = {
    "T2IAnnotateCanny": (
        "T2I Canny Edges",
        [IMAGE, RESOLUTION, ("low_threshold", "FLOAT", 100.0), ("high_threshold", "FLOAT", 200.0),
         ("l2_gradient", "BOOLEAN", False)],
    ),
    "T2ICleanSketch": (
        "T2I Clean Sketch",
        [IMAGE, RESOLUTION, ("mode", "COMBO", "threshold"), ("threshold", "FLOAT", 0.5), ("invert", "COMBO", "auto"),
         ("line_width", "INT", 0)],
    ),
    "T2INormalizeDepth": (
        "T2I Normalize Depth",
        [IMAGE, RESOLUTION, ("mode", "COMBO", "midas"), ("input_is", "COMBO", "disparity"), ("gamma", "FLOAT", 0.0)],
    ),
    "T2IAnnotateColor": (
        "T2I Color Palette",
        [IMAGE, RESOLUTION, ("cell", "INT", 64), ("sampling", "COMBO", "as trained"), *SIZE],
    ),
    "T2IPaintSegmentation": (
        "T2I Paint Segmentation",
        [("mask", "MASK", None), ("label", "COMBO", "person"), ("canvas", "IMAGE", None)],
    ),
    "T2IDrawPose": (
        "T2I Draw Pose",
        [("keypoints", "POSE_KEYPOINT", None), ("style", "COMBO", "openpose"), ("width", "INT", 0),
         ("height", "INT", 0), ("stick_width", "INT", 4), ("max_people", "INT", 0)],
    ),
    "T2IAnnotateGray": ("T2I Gray", [IMAGE, RESOLUTION, ("gamma", "FLOAT", 1.0)]),
}  # fmt: skip
COMBOS = {
    ("T2ICleanSketch", "mode"): ["threshold", "line art", "xdog"],
    ("T2ICleanSketch", "invert"): ["auto", "yes", "no"],
    ("T2INormalizeDepth", "mode"): ["midas", "zoe"],
    ("T2INormalizeDepth", "input_is"): ["disparity", "depth"],
    ("T2IAnnotateColor", "sampling"): ["as trained", "area", "median"],
    ("T2IDrawPose", "style"): ["openpose", "openpose bgr", "keypose"],
}
# Inputs that came later; prompts that lack them are as valid as before.
OPTIONAL = {"T2IPaintSegmentation": ["canvas"], "T2IAnnotateColor": ["width", "height", "latent"]}
OF_PICTURES = [node_id for node_id, (_, inputs) in CONTRACT.items() if inputs[0] == IMAGE]
every_node_of_pictures = pytest.mark.parametrize("node_id", OF_PICTURES)


@pytest.fixture(scope="module")
def nodes(inside_comfyui) -> dict[str, Any]:
    """The node classes, as ComfyUI's loader gets them."""
    import t2i_adapter_pack

    extension = asyncio.run(t2i_adapter_pack.comfy_entrypoint())
    return {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}


def picture(count=1, height=96, width=130, channels=1) -> torch.Tensor:
    """Gray pictures (all nodes take them) of different content."""
    random = torch.Generator().manual_seed(7)
    coarse = torch.rand((count, 1, 6, 8), generator=random)
    blocks = torch.nn.functional.interpolate(coarse, (height, width), mode="nearest")
    return blocks.expand(-1, channels, -1, -1).movedim(1, -1).contiguous()


def body() -> dict[str, Any]:
    points = [value for number in range(18) for value in (10 + 4 * number, 90 - 4 * number, 1)]
    return {"canvas_width": 130, "canvas_height": 96, "people": [{"pose_keypoints_2d": points}]}


@pytest.mark.parametrize("node_id", CONTRACT)
def test_the_ids_types_defaults_and_order_are_those_of_the_contract(nodes, node_id):
    name, inputs = CONTRACT[node_id]
    schema = nodes[node_id].GET_SCHEMA()
    assert schema.display_name == name
    assert schema.category == "T2I-Adapter/annotators"
    got = [(one.id, one.get_io_type(), getattr(one, "default", None)) for one in schema.inputs]
    assert got[: len(inputs)] == inputs
    assert [one.id for one in schema.inputs if one.optional] == OPTIONAL.get(node_id, [])
    assert [(one.id, one.get_io_type()) for one in schema.outputs] == [("image", "IMAGE")]
    for (node, combo), options in COMBOS.items():
        if node == node_id:
            assert next(one for one in schema.inputs if one.id == combo).options == options


def test_the_labels_are_the_182_of_coco_stuff(nodes):
    label = next(one for one in nodes["T2IPaintSegmentation"].GET_SCHEMA().inputs if one.id == "label")
    assert len(label.options) == 182
    assert label.options[0] == "person"


@pytest.mark.parametrize("node_id", CONTRACT)
def test_the_help_page_explains_every_input(nodes, node_id):
    page = Path(__file__).parents[2].joinpath("web", "docs", f"{node_id}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {CONTRACT[node_id][0]}\n")
    for name, *_ in CONTRACT[node_id][1]:
        assert f"`{name}`" in page


@every_node_of_pictures
@pytest.mark.parametrize("resolution", [0, 48, 200])
def test_a_batch_comes_back_at_its_size_in_the_range(nodes, node_id, resolution):
    result = nodes[node_id].execute(picture(3), resolution)[0]
    assert result.shape == (3, 96, 130, 3)
    assert result.dtype == torch.float32
    assert result.device.type == "cpu"
    assert result.is_contiguous()
    assert 0 <= result.min() < result.max() <= 1


@every_node_of_pictures
def test_what_is_no_picture_is_refused_before_any_progress(nodes, node_id, monkeypatch):
    import comfy.utils
    from t2i_adapter_pack.annotators.errors import AnnotatorError

    shown = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda *values, **_: shown.append(values))
    broken = picture(2)
    broken[1, 0, 0] = float("nan")
    for images in (broken, picture()[:0], picture()[0], torch.zeros(1, 8, 8, 7)):
        with pytest.raises(AnnotatorError):
            nodes[node_id].execute(images)
    assert not shown


@every_node_of_pictures
def test_a_long_batch_is_done_in_parts_with_progress(nodes, node_id, monkeypatch):
    import comfy.utils
    from t2i_adapter_pack.nodes.annotation import pictures

    whole = nodes[node_id].execute(picture(5))[0]
    shown = []
    monkeypatch.setattr(pictures, "PIXELS_PER_PART", 2 * 96 * 130)
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda *values, **_: shown.append(values[:2]))
    parts = nodes[node_id].execute(picture(5))[0]
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)
    assert shown[0] == (2, 5)
    assert shown[-1] == (5, 5)


@every_node_of_pictures
def test_it_can_be_cancelled(nodes, node_id, monkeypatch):
    import comfy.model_management
    from t2i_adapter_pack.nodes.annotation import pictures

    monkeypatch.setattr(pictures, "PIXELS_PER_PART", 1)
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        nodes[node_id].execute(picture(3))
    comfy.model_management.interrupt_current_processing(False)


def test_alpha_is_dropped_and_inference_tensors_are_taken(nodes):
    colours = torch.rand(1, 40, 50, 4)
    for node_id in ("T2IAnnotateCanny", "T2IAnnotateColor", "T2IAnnotateGray", "T2ICleanSketch"):
        with torch.inference_mode():
            opaque = nodes[node_id].execute(colours[..., :3])[0]
            assert torch.equal(nodes[node_id].execute(colours)[0], opaque)


def test_a_lower_resolution_finds_coarser_edges(nodes):
    image = torch.from_numpy(skimage.data.astronaut())[None].float() / 255
    fine, coarse = (nodes["T2IAnnotateCanny"].execute(image, size)[0] for size in (0, 128))
    assert set(fine.unique().tolist()) == {0.0, 1.0}
    assert len(coarse.unique()) > 10
    assert (coarse > 0.5).float().mean() > (fine > 0.5).float().mean()


def test_a_segmentation_is_painted_by_a_chain(nodes):
    paint = nodes["T2IPaintSegmentation"].execute
    mask = torch.zeros(1, 64, 96)
    mask[:, 32:] = 1
    result = paint(mask, "grass", paint(torch.ones(1, 64, 96), "sky-other")[0])[0]
    assert (result[0, 0, 0] * 255).round().tolist() == [192, 96, 128]
    assert (result[0, 63, 0] * 255).round().tolist() == [96, 64, 192]


def test_a_pose_has_the_size_of_its_canvas_or_the_one_asked_for(nodes):
    draw = nodes["T2IDrawPose"].execute
    assert draw([body(), body()])[0].shape == (2, 96, 130, 3)
    assert draw([body()], "keypose", 260, 96)[0].shape == (1, 96, 260, 3)
    assert torch.equal(draw([body()], "openpose bgr")[0], draw([body()])[0].flip(-1))


def test_keypoints_of_comfyuis_own_detector_are_taken(nodes):
    """Its people have pixels with scores, and points that it has not found."""
    from comfy_extras import nodes_sdpose
    from t2i_adapter_pack.annotators.keypoints import read_poses

    random = np.random.default_rng(1)
    keypoints, scores = random.uniform(20, 200, (133, 2)), np.ones(133)
    scores[15:17] = 0.05  # ankles
    frames = nodes_sdpose._to_openpose_frames([[keypoints]], [[scores]], 220, 240)
    drawn = nodes["T2IDrawPose"].execute(frames)[0]
    assert drawn.shape == (1, 220, 240, 3)
    nose = keypoints[0].astype(int)
    assert drawn[0, nose[1], nose[0]].sum() > 0
    joints = read_poses(frames).frames[0][0].joints
    assert [number for number, joint in enumerate(joints) if joint is None] == [10, 13]
    assert joints[0] == pytest.approx(tuple(keypoints[0]))
    assert joints[1] == pytest.approx(tuple((keypoints[5] + keypoints[6]) / 2), abs=1e-3)


def test_on_the_real_server_a_png_gives_opencvs_and_pillows_pixels(comfy_server):
    from t2i_adapter_pack.dev.tasks import client

    photograph = skimage.data.chelsea()[:192, :256]
    file = io.BytesIO()
    Image.fromarray(photograph).save(file, "PNG")
    workflow: dict[str, dict[str, Any]] = {"photo": {"class_type": "LoadImage", "inputs": {"image": "annotate.png"}}}
    for node_id in OF_PICTURES:
        values = {name: default for name, _, default in CONTRACT[node_id][1] if default is not None}
        if node_id == "T2INormalizeDepth":
            values |= {"image": ["T2IAnnotateGray", 0]}
        inputs = {"image": ["photo", 0], **values}
        workflow[node_id] = {"class_type": node_id, "inputs": inputs}
        workflow[f"show {node_id}"] = {"class_type": "PreviewImage", "inputs": {"images": [node_id, 0]}}
    made = client.run(comfy_server.url, workflow, {"annotate.png": file.getvalue()}).images
    shown = {node_id: np.array(Image.open(io.BytesIO(made[f"show {node_id}"][0])).convert("RGB"))
             for node_id in OF_PICTURES}  # fmt: skip
    assert all(result.shape == photograph.shape and result.any() for result in shown.values())
    assert np.array_equal(shown["T2IAnnotateCanny"][..., 0], cv2.Canny(photograph, 100, 200))
    assert np.array_equal(shown["T2IAnnotateGray"], np.array(Image.fromarray(photograph).convert("L").convert("RGB")))
    cells = cv2.resize(photograph, (4, 3), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(shown["T2IAnnotateColor"], np.repeat(np.repeat(cells, 64, 0), 64, 1))
