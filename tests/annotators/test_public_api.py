"""The public API of annotators: its names are frozen, and files become functions on pictures without a host."""

import inspect
from pathlib import Path

import pytest
import torch
from t2i_adapter_pack import annotators
from t2i_adapter_pack.annotators import keypoints, pose, segmentation, table
from t2i_adapter_pack.annotators.depth import normalize_depth
from t2i_adapter_pack.annotators.networks import hed, lineart, pidinet, pose_networks, transformers_models
from t2i_adapter_pack.annotators.networks.depth_networks import estimate_depth
from t2i_adapter_pack.annotators.networks.label_networks import segment
from t2i_adapter_pack.annotators.networks.pose_networks import detect_pose

from . import others, published

ROOT = Path(__file__).absolute().parents[2]
# Other programs import these. Add names; removing or renaming one breaks those programs.
NAMES = {
    *("AnnotatorError", "LoadedAnnotator", "load_annotator"),
    *("canny", "clean_sketch", "gray", "normalize_depth", "palette"),
    *("draw_poses", "read_poses", "label_colour", "paint", "paint_mask"),
}
PARAMETERS = {
    "canny": ["images", "low", "high", "l2_gradient"],
    "clean_sketch": ["images", "mode", "threshold", "invert", "line_width"],
    "gray": ["images", "gamma"],
    "normalize_depth": ["depth", "mode", "input_is", "gamma"],
    "palette": ["images", "cell", "sampling"],
    "draw_poses": ["poses", "style", "stick_width", "max_people"],
    "read_poses": ["keypoints", "size"],
    "label_colour": ["number"],
    "paint": ["labels"],
    "paint_mask": ["canvas", "mask", "label"],
    "load_annotator": ["path", "device"],
}
# Functions of the same name as their module.
SAME_NAME = {"canny", "gray", "palette"}
OURS = {
    "pidinet": (others.pidinet, pidinet.load_pidinet, pidinet.pidinet_edges),
    "hed": (others.hed, hed.load_hed, hed.hed_edges),
    "lineart": (others.lineart, lineart.load_lineart, lineart.lineart_lines),
}


def test_the_names_are_frozen():
    assert set(annotators.__all__) == NAMES
    assert len(annotators.__all__) == len(NAMES)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_parameters_are_frozen(name):
    found = list(inspect.signature(getattr(annotators, name)).parameters)
    assert found[: len(PARAMETERS[name])] == PARAMETERS[name]


def test_a_public_name_is_the_function_also_where_a_module_has_it():
    modules = {path.stem for path in (ROOT / "annotators").glob("*.py")}
    assert modules & NAMES == SAME_NAME
    for name in NAMES - {"AnnotatorError", "LoadedAnnotator"}:
        assert inspect.isfunction(getattr(annotators, name)), name


@pytest.mark.parametrize("name", ["canny", "clean_sketch", "gray", "palette"])
def test_functions_make_condition_images(name):
    picture = torch.rand(2, 3, 40, 56)
    found = getattr(annotators, name)(picture)
    assert found.shape == picture.shape
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize("key", OURS)
def test_a_line_network_is_loaded_under_any_name(key, tmp_path):
    make, load, draw = OURS[key]
    torch.manual_seed(0)
    state = make().state_dict()
    # As PiDiNet was published: below state_dict, each name behind what parallel training puts there.
    wrapped = (
        {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}} if key == "pidinet" else state
    )
    torch.save(wrapped, tmp_path / "renamed.pth")
    annotator = annotators.load_annotator(tmp_path / "renamed.pth")
    picture = torch.rand(1, 3, 32, 48)
    assert annotator.key == key
    assert torch.equal(annotator(picture), draw(load(state), picture))


def test_a_threshold_goes_to_the_network_that_has_one(tmp_path):
    torch.manual_seed(0)
    state = others.hed().state_dict()
    torch.save(state, tmp_path / "hed.pth")
    annotator = annotators.load_annotator(str(tmp_path / "hed.pth"))
    picture = torch.rand(1, 3, 32, 48)
    assert torch.equal(annotator(picture, threshold=0.5), hed.hed_edges(hed.load_hed(state), picture, 0.5))
    with pytest.raises(annotators.AnnotatorError, match="threshold"):
        annotator(picture, threshold=2)


@pytest.fixture(params=published.KEYS)
def transformers_file(request, tmp_path, monkeypatch):
    """A row with a tiny network, and its file under a name that tells nothing."""
    monkeypatch.setattr(table, "NETWORK_ANNOTATORS", published.tiny_rows())
    model = published.tiny_model(request.param)
    tensors = published.saved(published.their_network(model), tmp_path)
    return request.param, tensors, (tmp_path / "model.safetensors").rename(tmp_path / "renamed.sft")


def by_hand(loaded, images):
    """What the functions of the library give one after the other."""
    if loaded.model.task == "depth":
        mode = "zoe" if loaded.model.gives == "depth" else "midas"
        return normalize_depth(estimate_depth(loaded, images), mode, loaded.model.gives)
    if loaded.model.task == "labels":
        return segmentation.paint(segment(loaded, images))
    height, width = images.shape[-2:]
    frames = [
        {"canvas_width": width, "canvas_height": height, "people": [{"pose_keypoints_2d": body} for body in bodies]}
        for bodies in (joints.flatten(1).tolist() for joints in detect_pose(loaded, images))
    ]
    return pose.draw_poses(keypoints.read_poses(frames))


def test_a_network_of_transformers_is_loaded_under_any_name(transformers_file):
    key, tensors, path = transformers_file
    picture = torch.rand(2, 3, 64, 96)
    annotator = annotators.load_annotator(path)
    assert annotator.key == key
    found = annotator(picture)
    assert found.shape == picture.shape
    assert torch.equal(found, by_hand(transformers_models.load_model(published.tiny_model(key), tensors), picture))


def test_poses_are_drawn_in_the_style_asked_for(tmp_path, monkeypatch):
    picture = torch.zeros(1, 3, 64, 48)
    joints = torch.rand(1, 17, 3) * torch.tensor([48.0, 64.0, 0.0]) + torch.tensor([0.0, 0.0, 1.0])
    monkeypatch.setattr(pose_networks, "detect_pose", lambda loaded, images: [joints])
    drawn = [pose_networks.pose_picture(None, picture, style=style) for style in ("openpose", "openpose bgr")]
    assert drawn[0].any()
    assert torch.equal(drawn[0].flip(1), drawn[1])


def test_every_published_network_has_one_row():
    keys = [row.key for row in table.NETWORK_ANNOTATORS]
    assert sorted(keys) == sorted([*OURS, *published.KEYS])


@pytest.mark.parametrize("content", [{"another.weight": torch.ones(2)}, torch.ones(2), {"a": "text"}])
def test_another_file_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(annotators.AnnotatorError, match="other"):
        annotators.load_annotator(tmp_path / "other.pth")


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\xff" * 100])
def test_a_damaged_file_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(annotators.AnnotatorError, match="cut"):
        annotators.load_annotator(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(annotators.AnnotatorError, match="missing"):
        annotators.load_annotator(tmp_path / "missing.pth")


def test_of_another_networks_file_only_names_and_shapes_are_read(tmp_path, monkeypatch):
    from safetensors.torch import save_file
    from t2i_adapter_pack.common import containers

    save_file({"conv.weight": torch.zeros(4, 4)}, tmp_path / "other.safetensors")
    monkeypatch.setattr(containers, "read_stored", lambda *_: pytest.fail("numbers were read"))
    with pytest.raises(annotators.AnnotatorError, match="weights of another network"):
        annotators.load_annotator(tmp_path / "other.safetensors")
