"""T2I Depth, T2I Segmentation and T2I Detect Pose, with random tiny networks in the published layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from t2i_adapter_pack.annotators import catalogue

from ..annotators import published as theirs
from . import tiny
from .published import picture

pytestmark = pytest.mark.host
SCENES = [row for row in catalogue.PUBLISHED if row.annotator in ("depth", "segmentation", "pose")]
NODES = {"depth": "T2IAnnotateDepth", "segmentation": "T2IAnnotateSegmentation", "pose": "T2IDetectPose"}


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    """The published networks with tiny configurations, by key."""
    return {row.key: theirs.tiny_model(row.key) for row in SCENES}


@pytest.fixture(scope="module")
def files(small, tmp_path_factory) -> dict[str, Path]:
    """Their weights, as transformers saves them, by the names of the catalogue."""
    folder = tmp_path_factory.mktemp("scenes")
    for row in SCENES:
        tensors = theirs.saved(theirs.their_network(small[row.key]), tmp_path_factory.mktemp(row.key))
        save = torch.save if row.file.endswith(".bin") else save_file
        save(tensors, folder / row.file)
    return {row.key: folder / row.file for row in SCENES}


@pytest.fixture
def weights(places, files, monkeypatch) -> Path:
    """models/annotators with all of them."""
    monkeypatch.setattr("t2i_adapter_pack.annotators.table.NETWORK_ANNOTATORS", theirs.tiny_rows())
    folder = places / "models" / "annotators"
    folder.mkdir(parents=True)
    for path in files.values():
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def nodes(inside_comfyui) -> dict[str, Any]:
    from t2i_adapter_pack import nodes as pack

    return {node.GET_SCHEMA().node_id: node for node in pack.NODES}


def loaded(small: dict[str, Any], files: dict[str, Path], key: str) -> Any:
    from t2i_adapter_pack.annotators.errors import ANNOTATOR_FILE_ERRORS
    from t2i_adapter_pack.annotators.networks.transformers_models import load_model
    from t2i_adapter_pack.common.files import read_weights

    return load_model(small[key], read_weights(files[key], ANNOTATOR_FILE_ERRORS).tensors)


# --- depth ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [row.key for row in SCENES if row.annotator == "depth"])
def test_depth_is_that_of_the_network_normalised_as_its_kind(nodes, weights, small, files, key):
    from t2i_adapter_pack.annotators.depth import normalize_depth
    from t2i_adapter_pack.annotators.networks.depth_networks import estimate_depth

    image = picture(64, 96)
    made = nodes["T2IAnnotateDepth"].execute(image, weights=files[key].name)[0]
    raw = estimate_depth(loaded(small, files, key), image.movedim(-1, 1))
    kind = ("zoe", "depth") if key == "zoedepth-nk" else ("midas", "disparity")
    expected = normalize_depth(raw, *kind).movedim(1, -1)
    assert made.shape == image.shape
    assert (made - expected).abs().max() < 1e-4
    assert made.std() > 0.01


def test_auto_takes_what_the_adapters_were_trained_with(nodes, weights):
    node, image = nodes["T2IAnnotateDepth"], picture(64, 64)
    hybrid = node.execute(image, weights="dpt-hybrid-midas.safetensors")[0]
    assert torch.equal(node.execute(image)[0], hybrid)
    (weights / "dpt-hybrid-midas.safetensors").unlink()
    assert torch.equal(node.execute(image)[0], node.execute(image, weights="dpt-large.safetensors")[0])


def test_a_file_of_any_name_is_known_by_what_is_in_it(nodes, weights, files):
    image = picture(64, 64)
    for key, path in files.items():
        node = nodes[NODES[next(row.annotator for row in SCENES if row.key == key)]]
        named = node.execute(image, weights=path.name)[0]
        own = f"my own{path.suffix}"
        (weights / own).symlink_to(path)
        again = node.execute(image, weights=own)[0]
        assert torch.equal(again, named) if isinstance(named, torch.Tensor) else again == named
        (weights / own).unlink()


def test_a_file_of_another_network_is_refused(nodes, weights, files):
    (weights / "mine.safetensors").symlink_to(files["vitpose-base-simple"])
    with pytest.raises(ValueError, match="got weights of none of these; expected dpt-hybrid, dpt-large"):
        nodes["T2IAnnotateDepth"].execute(picture(), weights="mine.safetensors")
    save_file({"a": torch.zeros(1)}, weights / "empty.safetensors")
    with pytest.raises(ValueError, match="expected vitpose-base-simple"):
        nodes["T2IDetectPose"].execute(picture(), weights="empty.safetensors")


# --- segmentation -----------------------------------------------------------------------------------------------------


def test_a_segmentation_has_the_adapters_colours_alone(nodes, weights, small, files):
    from t2i_adapter_pack.annotators.networks.label_networks import segment
    from t2i_adapter_pack.annotators.segmentation import label_colour

    image = picture(64, 80, 2)
    labels = segment(loaded(small, files, "maskformer-coco-stuff"), image.movedim(-1, 1))
    made = nodes["T2IAnnotateSegmentation"].execute(image)[0]
    bytes_of = (made * 255).round().long()
    for number in labels.unique().tolist():
        colours = bytes_of[labels == number].unique(dim=0).tolist()
        assert colours == [list(label_colour(number))]
    at_half = nodes["T2IAnnotateSegmentation"].execute(image, resolution=32)[0]
    known = {label_colour(number) for number in range(183)}
    assert {tuple(row) for row in (at_half * 255).round().long().flatten(0, 2).unique(dim=0).tolist()} <= known


# --- pose -------------------------------------------------------------------------------------------------------------


def test_poses_come_in_openposes_order_and_pixels(nodes, weights, small, files):
    from t2i_adapter_pack.annotators.networks.pose_networks import detect_pose

    image = picture(64, 48, 2)
    joints = detect_pose(loaded(small, files, "vitpose-base-simple"), image.movedim(-1, 1))
    threshold = float(torch.cat(joints)[..., 2].median())
    frames, drawn = nodes["T2IDetectPose"].execute(image, threshold=max(threshold, 0.0)).args
    assert len(frames) == 2
    assert drawn.shape == image.shape
    assert 0 < drawn.mean() < 1
    order = [0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
    for frame, each in zip(frames, joints, strict=True):
        assert (frame["canvas_height"], frame["canvas_width"]) == (64, 48)
        flat = frame["people"][0]["pose_keypoints_2d"]
        assert len(frame["people"]) == 1
        assert len(flat) == 54
        for place, source in enumerate(order):
            x, y, score = flat[3 * place : 3 * place + 3]
            if source is None:
                shoulders = each[0, 5:7]
                seen = bool((shoulders[:, 2] >= max(threshold, 1e-30)).all())
                expected = shoulders[:, :2].mean(0).tolist()
            else:
                seen = bool(each[0, source, 2] >= max(threshold, 1e-30))
                expected = each[0, source, :2].tolist()
            assert (score >= 0.3) == seen
            assert [x, y] == (pytest.approx(expected, abs=1e-3) if seen else [0, 0])


def test_keypoints_go_into_draw_pose(nodes, weights):
    frames, drawn = nodes["T2IDetectPose"].execute(picture(64, 48, 2), threshold=0.0).args
    again = nodes["T2IDrawPose"].execute(frames)[0]
    assert torch.equal(again, drawn)


def test_cores_node_draws_the_keypoints(nodes, weights):
    from comfy_extras.nodes_sdpose import SDPoseDrawKeypoints

    def draw(shown: bool) -> torch.Tensor:
        defaults = {each.id: each.default for each in SDPoseDrawKeypoints.define_schema().inputs[1:]}
        parts = {f"draw_{part}": shown for part in ("hands", "face", "feet")}
        return SDPoseDrawKeypoints.execute(frames, **{**defaults, **parts})[0]

    frames = nodes["T2IDetectPose"].execute(picture(64, 48, 2), threshold=0.0)[0]
    drawn = draw(shown=True)
    assert drawn.shape == (2, 64, 48, 3)
    assert drawn.any()
    assert torch.equal(drawn, draw(shown=False))  # no face, hands or feet


@pytest.mark.parametrize("nested", [True, False])
def test_each_box_is_a_person_of_its_own(nodes, weights, small, files, nested):
    from t2i_adapter_pack.annotators.networks.pose_networks import detect_pose

    image = picture(64, 96)
    boxes = [
        {"x": 4, "y": 8, "width": 30, "height": 50, "label": "person", "score": 0.9},
        {"x": 50, "y": 4, "width": 20, "height": 40},
        {"x": 0, "y": 0, "width": 9, "height": 9, "label": "dog"},
    ]
    frames, _ = nodes["T2IDetectPose"].execute(image, threshold=0.0, bboxes=[boxes] if nested else boxes).args
    expected = detect_pose(
        loaded(small, files, "vitpose-base-simple"),
        image.movedim(-1, 1),
        [torch.tensor([[4.0, 8.0, 30.0, 50.0], [50.0, 4.0, 20.0, 40.0]])],
    )[0]
    assert len(frames[0]["people"]) == 2
    for person, joints in zip(frames[0]["people"], expected, strict=True):
        nose = person["pose_keypoints_2d"][:2]
        if joints[0, 2] > 1e-30:
            assert nose == pytest.approx(joints[0, :2].tolist(), abs=1e-3)


def test_a_picture_without_people_has_none(nodes, weights):
    image = picture(32, 32, 2)
    frames, drawn = (
        nodes["T2IDetectPose"]
        .execute(image, threshold=0.0, bboxes=[[], [{"x": 0, "y": 0, "width": 32, "height": 32}]])
        .args
    )
    assert [len(frame["people"]) for frame in frames] == [0, 1]
    assert drawn[0].max() == 0


def test_another_resolution_leaves_joints_in_the_pictures_pixels(nodes, weights):
    """At twice the size the network sees the same person, since ViTPose always resizes to 256×192."""
    from torch.nn import functional

    planes = functional.interpolate(torch.rand(1, 3, 8, 6, generator=torch.Generator().manual_seed(0)), scale_factor=32)
    image = planes.movedim(1, -1)
    frames = [nodes["T2IDetectPose"].execute(image, resolution=side, threshold=0.0)[0] for side in (0, 384)]
    whole, twice = (torch.tensor(each[0]["people"][0]["pose_keypoints_2d"]).view(18, 3) for each in frames)
    both = (whole[:, 2] > 0) & (twice[:, 2] > 0)
    assert both.sum() > 3
    assert frames[1][0]["canvas_width"] == 192
    assert (whole - twice)[both, :2].abs().median() < 8


@pytest.mark.parametrize(
    ("bboxes", "message"),
    [
        ([[], [], []], "boxes for 3 pictures"),
        (7, "a int"),
        ([[{"x": 1}]], "KeyError"),
        ([["box"]], "AttributeError"),
    ],
)
def test_wrong_boxes_are_refused_before_any_file_is_looked_for(nodes, places, bboxes, message):
    with pytest.raises(ValueError, match=message):
        nodes["T2IDetectPose"].execute(picture(count=2), bboxes=bboxes)


# --- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("annotator", NODES)
def test_a_batch_is_its_pictures_one_by_one(nodes, weights, annotator):
    node, images = nodes[NODES[annotator]], picture(48, 64, 3)
    together = node.execute(images)
    for index in range(3):
        alone = node.execute(images[index : index + 1])
        if annotator == "pose":
            assert together[0][index] == alone[0][0]
        assert (together[-1][index] - alone[-1][0]).abs().max() < 1e-4


@pytest.mark.parametrize("annotator", NODES)
def test_missing_weights_and_bad_images_are_told(nodes, places, annotator):
    node = nodes[NODES[annotator]]
    with pytest.raises(ValueError, match=r"got no such file.*Choose 'download: .*without weights"):
        node.execute(picture())
    with pytest.raises(ValueError, match="image: got NaN"):
        node.execute(picture() * float("nan"))


# --- for an adapter ---------------------------------------------------------------------------------------------------


def load(folder: Path, name: str, kind: str = "SD", *, bgr: bool | None = None) -> Any:
    from t2i_adapter_pack.nodes.loading import adapters

    path = tiny.save_adapter(folder, tiny.adapter_config(kind), name=name)
    return adapters.wrap_adapter(path, path.name, None, bgr=bgr, dtype=None)


@pytest.mark.parametrize(
    ("name", "kind", "file"),
    [
        ("t2iadapter_depth_sd15v2", "SD", "dpt-hybrid-midas.safetensors"),
        ("t2i-adapter-depth-midas-sdxl-1.0", "SDXL", "dpt-large.safetensors"),
        ("t2i-adapter-depth-zoe-sdxl-1.0", "SDXL", "zoedepth-nyu-kitti.safetensors"),
    ],
)
def test_depth_adapters_get_the_network_that_they_were_trained_with(nodes, weights, name, kind, file, caplog):
    image = picture(64, 64)
    made = nodes["T2IAnnotateFor"].execute(image, load(weights.parent, name, kind), resolution=64)[0]
    assert torch.equal(made, nodes["T2IAnnotateDepth"].execute(image, resolution=64, weights=file)[0])
    assert "was trained with" not in caplog.text


def test_another_depth_network_is_told_of(nodes, weights, caplog):
    (weights / "dpt-large.safetensors").unlink()
    adapter = load(weights.parent, "t2i-adapter-depth-midas-sdxl-1.0", "SDXL")
    nodes["T2IAnnotateFor"].execute(picture(64, 64), adapter, resolution=64)
    assert "was trained with dpt-large.safetensors; here is dpt-hybrid-midas.safetensors" in caplog.text
    (weights / "zoedepth-nyu-kitti.safetensors").unlink()
    zoe = load(weights.parent, "t2i-adapter-depth-zoe-sdxl-1.0", "SDXL")
    with pytest.raises(ValueError, match=r"Choose 'download: zoedepth-nyu-kitti\.safetensors"):
        nodes["T2IAnnotateFor"].execute(picture(64, 64), zoe, resolution=64)


@pytest.mark.parametrize(("kind", "bgr", "swapped"), [("SD", False, False), ("SDXL", True, False),
                                                      ("SDXL", False, True), ("SD", True, True)])  # fmt: skip
def test_poses_are_drawn_for_what_the_adapter_does_with_colours(nodes, weights, kind, bgr, swapped):
    """An SDXL pose adapter needs red and blue swapped once: by the loader or by this node, not by both."""
    image = picture(64, 48)
    adapter = load(weights.parent, "openpose", kind, bgr=bgr)
    made = nodes["T2IAnnotateFor"].execute(image, adapter, resolution=48)[0]
    plain = nodes["T2IDetectPose"].execute(image)[1]
    assert plain.std() > 0
    assert torch.equal(made, plain.flip(-1) if swapped else plain)


def test_keypose_and_segmentation_adapters(nodes, weights):
    image = picture(64, 48)
    made = nodes["T2IAnnotateFor"].execute(image, load(weights.parent, "t2iadapter_keypose_sd14v1"))[0]
    frames = nodes["T2IDetectPose"].execute(image, threshold=0.1)[0]
    assert torch.equal(made, nodes["T2IDrawPose"].execute(frames, style="keypose")[0])
    made = nodes["T2IAnnotateFor"].execute(image, load(weights.parent, "t2iadapter_seg_sd14v1"))[0]
    assert torch.equal(made, nodes["T2IAnnotateSegmentation"].execute(image)[0])
