"""T2I Annotate for Adapter selects the annotator that the adapter was trained with, and reports it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from t2i_adapter_pack.adapter_models.conditions import CONDITIONS

from . import tiny
from .published import picture

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def nodes(inside_comfyui) -> dict[str, Any]:
    from t2i_adapter_pack.nodes import NODES

    return {node.GET_SCHEMA().node_id: node for node in NODES}


def load(folder: Any, name: str, kind: str = "SD", *, bgr: bool | None = None) -> Any:
    """An adapter whose file has this name."""
    from t2i_adapter_pack.nodes.loading import adapters

    folder.mkdir(exist_ok=True)
    path = tiny.save_adapter(folder, tiny.adapter_config(kind), name=name)
    return adapters.wrap_adapter(path, path.name, None, bgr=bgr, dtype=None)


def annotate(nodes: dict[str, Any], image: torch.Tensor, adapter: Any, **values: Any) -> torch.Tensor:
    return nodes["T2IAnnotateFor"].execute(image, adapter, **values)[0]


@pytest.mark.parametrize(
    ("name", "kind", "condition", "resolution"),
    [
        ("t2iadapter_sketch_sd14v1", "SD", "sketch", 0),
        ("t2iadapter_sketch_sd15v2", "SD", "sketch", 0),
        ("t2i-adapter-sketch-sdxl-1.0", "SDXL", "sketch", 1024),
        ("t2iadapter_canny_sd15v2", "SD", "canny", 0),
        ("t2i-adapter_xl_canny", "SDXL", "canny", 384),
        ("t2i-adapter-lineart-sdxl-1.0", "SDXL", "lineart", 384),
        ("t2iadapter_color_sd14v1", "SD", "color", 0),
        ("coadapter-color-sd15v1", "SD", "color", 0),
    ],
)
def test_published_adapters_get_what_they_were_trained_with(places, name, kind, condition, resolution):
    from t2i_adapter_pack.nodes.annotation.presets import preset_for

    preset = preset_for(load(places / "adapters", name, kind))
    assert (preset.condition, preset.resolution) == (condition, resolution)


@pytest.mark.parametrize(
    ("name", "kind", "node_id"),
    [
        ("t2iadapter_sketch_sd15v2", "SD", "T2IAnnotateSketch"),
        ("t2i-adapter-sketch-sdxl-1.0", "SDXL", "T2IAnnotateSketch"),
        ("t2i-adapter-lineart-sdxl-1.0", "SDXL", "T2IAnnotateLineart"),
    ],
)
def test_it_gives_what_the_adapters_own_annotator_gives(nodes, weights, name, kind, node_id):
    image = picture(32, 40)
    made = annotate(nodes, image, load(weights.parent / "adapters", name, kind), resolution=24)
    assert torch.equal(made, nodes[node_id].execute(image, resolution=24)[0])


def test_conditions_without_weights_need_none(nodes, places):
    from t2i_adapter_pack.annotators.canny import canny
    from t2i_adapter_pack.annotators.gray import gray
    from t2i_adapter_pack.annotators.palette import palette

    image = picture(96, 160, 2)
    for name, make in (
        ("t2iadapter_canny_sd15v2", canny),
        ("t2iadapter_color_sd14v1", palette),
        ("t2i-adapter-recolor-sdxl-1.0", gray),
    ):
        made = annotate(nodes, image, load(places / "adapters", name))
        assert torch.equal(made, make(image.movedim(-1, 1)).movedim(1, -1))


def test_it_tells_what_it_picked(nodes, weights, caplog):
    caplog.set_level(logging.INFO)
    adapter = load(weights.parent / "adapters", "t2i-adapter-lineart-sdxl-1.0", "SDXL")
    annotate(nodes, picture(16, 16), adapter, resolution=16)
    annotate(nodes, picture(16, 16), load(weights.parent / "adapters", "t2iadapter_canny_sd15v2"))
    assert "lineart-sdxl-1.0.safetensors (SDXL lineart): T2I Lineart, at 16 pixels" in caplog.text
    assert "(SD1.x canny): T2I Canny Edges, thresholds 100 and 200, at the image's size" in caplog.text
    assert "at the image's size. The condition is taken from the file's name." in caplog.text


def test_an_adapter_that_tells_nothing_is_refused_with_all_that_is_known(nodes, weights):
    for name in ("adapter", "coadapter-style-sd15v1"):
        with pytest.raises(ValueError, match="expected one for") as caught:
            annotate(nodes, picture(16, 16), load(weights.parent / "adapters", name))
        for word in ("sketch: T2I Sketch", "canny: T2I Canny Edges", "color: T2I Color Palette"):
            assert word in str(caught.value)


def test_the_metadata_go_before_the_name(nodes, places, caplog):
    from safetensors.torch import load_file, save_file
    from t2i_adapter_pack.nodes.loading import adapters

    path = tiny.save_adapter(places, tiny.adapter_config(), name="t2iadapter_sketch_sd15v2")
    save_file(load_file(path), path, metadata={"t2i_adapter.condition": "canny"})
    adapter = adapters.wrap_adapter(path, path.name, None, bgr=None, dtype=None)
    caplog.set_level(logging.INFO)
    assert set(annotate(nodes, picture(), adapter).unique().tolist()) <= {0.0, 1.0}
    assert "the file's name" not in caplog.text


def test_weights_of_another_annotator_are_refused(nodes, weights):
    adapter = load(weights.parent / "adapters", "t2iadapter_sketch_sd15v2")
    assert "sk_model.pth" in nodes["T2IAnnotateFor"].define_schema().inputs[3].options
    with pytest.raises(ValueError, match=r"table5_pidinet\.pth"):
        annotate(nodes, picture(), adapter, weights="sk_model.pth")


def test_missing_weights_are_named_and_bad_images_come_first(nodes, places):
    adapter = load(places / "adapters", "t2iadapter_sketch_sd15v2")
    with pytest.raises(ValueError, match=r"Choose 'download: table5_pidinet\.pth"):
        annotate(nodes, picture(), adapter)
    with pytest.raises(ValueError, match="image: got NaN"):
        annotate(nodes, picture() * float("nan"), adapter)


def test_every_row_is_of_a_known_condition_and_has_a_fallback(inside_comfyui):
    from t2i_adapter_pack.nodes.annotation.presets import ANNOTATOR_PRESETS

    conditions = {row.condition for row in ANNOTATOR_PRESETS}
    assert conditions <= {condition.name for condition in CONDITIONS}
    assert {row.condition for row in ANNOTATOR_PRESETS if not row.family} == conditions
    assert len({(row.condition, row.family) for row in ANNOTATOR_PRESETS}) == len(ANNOTATOR_PRESETS)
