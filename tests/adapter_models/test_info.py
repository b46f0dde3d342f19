"""What an adapter is, and the source of each fact: decided in one place, at load."""

import ast
from pathlib import Path

import pytest
from safetensors.torch import save_file
from t2i_adapter_pack.adapter_models import conditions, info, loading
from t2i_adapter_pack.adapter_models.conditions import METADATA, NAME, SHAPES

from . import samples

ROOT = Path(__file__).absolute().parents[2]
SHIPPED = ("adapter_models", "annotators", "training", "nodes", "cli")
# What reads names, metadata and shapes for what an adapter is, and the only files that may call it.
DECIDERS = {"purpose_of", "color_order_of", "condition_of", "family_of", "family_by_strides", "fitting_families"}
ALLOWED = {"adapter_models/conditions.py", "adapter_models/families.py", "adapter_models/info.py"}
SD, XL = samples.full(3), samples.xl(3)


def of(tmp_path, config, name="", member=None, metadata=None):
    path = tmp_path / "x.safetensors"
    save_file(samples.weights(config), path, metadata)
    return loading.load_adapter_file(path, name, member)[1]


def deciders(source):
    """Return the deciders that a source calls or imports."""
    tree = ast.parse(source)
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    called = {getattr(function, "attr", getattr(function, "id", "")) for function in calls}
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return (called | imported) & DECIDERS


def test_nothing_else_decides_what_an_adapter_is():
    paths = [path for folder in SHIPPED for path in (ROOT / folder).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix(): deciders(path.read_text(encoding="utf-8")) for path in paths}
    assert {path for path, names in found.items() if names} == ALLOWED


def test_a_decider_is_found():
    assert deciders("from ..adapter_models.families import family_by_strides") == {"family_by_strides"}
    assert deciders("conditions.condition_of(name, {})") == {"condition_of"}


@pytest.mark.parametrize(
    ("config", "name", "metadata", "expected"),
    [
        (SD, "x", None, (None, "", None, "", False, SHAPES)),
        (SD, "t2iadapter_depth_sd15v2", None, ("depth", NAME, "SD1.x", NAME, False, SHAPES)),
        (SD, "x", {conditions.CONDITION_KEY: "canny", conditions.FAMILY_KEY: "SD2.x"},
         ("canny", METADATA, "SD2.x", METADATA, False, SHAPES)),
        (XL, "x", None, (None, "", "SDXL", SHAPES, False, "")),
        (XL, "adapter-xl-openpose", None, ("openpose", NAME, "SDXL", SHAPES, True, NAME)),
        (XL, "adapter-xl-openpose", {conditions.COLOR_ORDER_KEY: "rgb"},
         ("openpose", NAME, "SDXL", SHAPES, False, METADATA)),
    ],
)  # fmt: skip
def test_each_fact_has_its_source(tmp_path, config, name, metadata, expected):
    found = of(tmp_path, config, name, metadata=metadata)
    condition = found.condition.name if found.condition else None
    order = found.color_order
    got = (condition, found.condition_from, found.family, found.family_from, order.bgr, order.told_by)
    assert got == expected
    assert (found.layout_from, found.image_channels, found.channels_from) == (info.TENSOR_NAMES, 3, SHAPES)
    assert found.fits == ("SDXL" if config is XL else "SD1.x / SD2.x")


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_follow_the_channels(tmp_path, channels):
    found = of(tmp_path, samples.full(channels))
    assert (found.image_channels, found.takes_colors) == (channels, channels == 3)


def test_a_change_names_its_source(tmp_path):
    found = of(tmp_path, SD, "t2iadapter_depth_sd15v2")
    canny = next(row for row in conditions.CONDITIONS if row.name == "canny")
    changed = found.for_condition(canny, info.TRAINING_SETTINGS).for_family("SD2.x", info.TRAINED_MODEL)
    assert (changed.condition, changed.condition_from) == (canny, info.TRAINING_SETTINGS)
    assert (changed.family, changed.family_from) == ("SD2.x", info.TRAINED_MODEL)
    assert found.condition_from == found.family_from == NAME
    swapped = found.with_order(bgr=True)
    assert swapped.bgr
    assert swapped.color_order.told_by == METADATA
    assert swapped.metadata[conditions.COLOR_ORDER_KEY] == "bgr"


@pytest.mark.parametrize(
    ("config", "version", "expected"),
    [(SD, "SD1.x", ("SD1.x", info.TRAINED_MODEL)), (SD, None, (None, "")), (XL, None, ("SDXL", SHAPES))],
)
def test_a_new_adapter_is_for_its_model(config, version, expected):
    made = info.info_for_training(config, conditions.CONDITIONS[0], version, 10)
    assert (made.family, made.family_from) == expected
    assert (made.condition, made.condition_from) == (conditions.CONDITIONS[0], info.TRAINING_SETTINGS)
    assert (made.bgr, made.color_order.told_by) == (False, METADATA)
