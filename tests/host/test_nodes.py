"""The nodes' public contract, their schemas, and Info and Preview."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch

from . import tiny

pytestmark = pytest.mark.host
# What every annotator begins with.
ANNOTATED: list[tuple[str, str, Any]] = [("image", "IMAGE", None), ("resolution", "INT", 0)]
# Saved workflows and API prompts depend on these: append, never rename or reorder.
CONTRACT: dict[str, tuple[str, list[tuple[str, str, Any]], list[tuple[str, str]]]] = {
    "LoadT2IAdapter": (
        "Load T2I-Adapter",
        [("adapter_name", "COMBO", None), ("color_order", "COMBO", "auto"), ("dtype", "COMBO", "auto")],
        [("adapter", "T2I_ADAPTER")],
    ),
    "ApplyT2IAdapter": (
        "Apply T2I-Adapter",
        [
            ("model", "MODEL", None),
            ("adapter", "T2I_ADAPTER", None),
            ("image", "IMAGE", None),
            ("strength", "FLOAT", 1.0),
            ("start_percent", "FLOAT", 0.0),
            ("end_percent", "FLOAT", 1.0),
            ("fit", "COMBO", "crop"),
            ("mask", "MASK", None),
            ("weights", "T2I_WEIGHTS", None),
            ("show_image", "BOOLEAN", False),
        ],
        [("model", "MODEL")],
    ),
    "T2IAdapterWeights": (
        "T2I-Adapter Level Weights",
        [
            ("preset", "COMFY_DYNAMICCOMBO_V3", None),
            ("positive", "FLOAT", 1.0),
            ("negative", "FLOAT", 1.0),
            ("weights", "T2I_WEIGHTS", None),
        ],
        [("weights", "T2I_WEIGHTS")],
    ),
    "T2IAdapterSchedule": (
        "T2I-Adapter Schedule",
        [
            ("start_strength", "FLOAT", 1.0),
            ("end_strength", "FLOAT", 1.0),
            ("interpolation", "COMBO", "constant"),
            ("start_percent", "FLOAT", 0.0),
            ("end_percent", "FLOAT", 1.0),
            ("unit", "COMBO", "noise schedule"),
            ("curve", "CURVE", None),
            ("weights", "T2I_WEIGHTS", None),
        ],
        [("weights", "T2I_WEIGHTS")],
    ),
    "T2IAdapterToControlNet": (
        "T2I-Adapter as ControlNet",
        [("adapter", "T2I_ADAPTER", None), ("weights", "T2I_WEIGHTS", None)],
        [("control_net", "CONTROL_NET")],
    ),
    "LoadCoAdapterFuser": ("Load CoAdapter Fuser", [("fuser_name", "COMBO", None)], [("fuser", "T2I_FUSER")]),
    "CombineT2IAdapters": (
        "Combine T2I-Adapters",
        [
            ("model", "MODEL", None),
            ("method", "COMBO", "sum"),
            ("fuser", "T2I_FUSER", None),
            ("positive", "CONDITIONING", None),
        ],
        [("model", "MODEL"), ("positive", "CONDITIONING")],
    ),
    "LoadT2IStyleAdapter": (
        "Load T2I Style Adapter",
        [("style_name", "COMBO", None)],
        [("style_adapter", "T2I_STYLE_ADAPTER")],
    ),
    "ApplyT2IStyleAdapter": (
        "Apply T2I Style Adapter",
        [
            ("conditioning", "CONDITIONING", None),
            ("style_adapter", "T2I_STYLE_ADAPTER", None),
            ("clip_vision_output", "CLIP_VISION_OUTPUT", None),
            ("strength", "FLOAT", 1.0),
        ],
        [("conditioning", "CONDITIONING")],
    ),
    "T2IAdapterInfo": (
        "T2I-Adapter Info",
        [("adapter", "T2I_ADAPTER", None)],
        [("adapter", "T2I_ADAPTER"), ("text", "STRING")],
    ),
    "PreviewT2IAdapterFeatures": (
        "Preview T2I-Adapter Features",
        [
            ("adapter", "T2I_ADAPTER", None),
            ("image", "IMAGE", None),
            ("width", "INT", 512),
            ("height", "INT", 512),
        ],
        [("images", "IMAGE")],
    ),
    "T2IAnnotateSketch": (
        "T2I Sketch (PiDiNet)",
        [*ANNOTATED, ("weights", "COMBO", "auto"), ("threshold", "FLOAT", 0.5)],
        [("image", "IMAGE")],
    ),
    "T2IAnnotateSoftEdge": (
        "T2I Soft Edge (HED)",
        [*ANNOTATED, ("weights", "COMBO", "auto"), ("threshold", "FLOAT", 0.0)],
        [("image", "IMAGE")],
    ),
    "T2IAnnotateLineart": (
        "T2I Lineart",
        [*ANNOTATED, ("weights", "COMBO", "auto"), ("coarse", "BOOLEAN", False)],
        [("image", "IMAGE")],
    ),
    "T2IAnnotateDepth": (
        "T2I Depth",
        [*ANNOTATED, ("weights", "COMBO", "auto")],
        [("image", "IMAGE")],
    ),
    "T2IAnnotateSegmentation": (
        "T2I Segmentation",
        [*ANNOTATED, ("weights", "COMBO", "auto")],
        [("image", "IMAGE")],
    ),
    "T2IDetectPose": (
        "T2I Detect Pose",
        [
            *ANNOTATED,
            ("weights", "COMBO", "auto"),
            ("threshold", "FLOAT", 0.3),
            ("bboxes", "BOUNDING_BOX", None),
        ],
        [("keypoints", "POSE_KEYPOINT"), ("image", "IMAGE")],
    ),
    "T2IAnnotateFor": (
        "T2I Annotate for Adapter",
        [
            *ANNOTATED,
            ("adapter", "T2I_ADAPTER", None),
            ("weights", "COMBO", "auto"),
            ("width", "INT", 0),
            ("height", "INT", 0),
            ("latent", "LATENT", None),
        ],
        [("image", "IMAGE")],
    ),
    "CreateT2IAdapter": (
        "Create T2I-Adapter",
        [
            ("model", "MODEL", None),
            ("size", "COMBO", "base"),
            ("image_channels", "COMBO", "3"),
            ("kind", "COMBO", "sketch"),
            ("seed", "INT", 0),
            ("start_from", "T2I_ADAPTER", None),
        ],
        [("adapter", "T2I_ADAPTER")],
    ),
    "TrainT2IAdapter": (
        "Train T2I-Adapter",
        [
            ("model", "MODEL", None),
            ("adapter", "T2I_ADAPTER", None),
            ("latents", "LATENT", None),
            ("images", "IMAGE", None),
            ("positive", "CONDITIONING", None),
            ("steps", "INT", 1000),
            ("batch_size", "INT", 4),
            ("learning_rate", "FLOAT", 1e-5),
            ("timesteps", "COMBO", "cubic"),
            ("prompt_dropout", "FLOAT", 0.0),
            ("condition_dropout", "FLOAT", 0.0),
            ("ema", "FLOAT", 0.0),
            ("gradient_accumulation", "INT", 1),
            ("precision", "COMBO", "fp32"),
            ("seed", "INT", 0),
            ("save_every", "INT", 500),
            ("run_name", "STRING", "my_adapter"),
            ("empty", "CONDITIONING", None),
            ("gradient_checkpointing", "BOOLEAN", False),
            ("preview_every", "INT", 0),
            ("held_out_share", "FLOAT", 0.0),
            ("validate_every", "INT", 100),
            ("lr_scheduler", "COMBO", "constant"),
            ("lr_warmup_steps", "INT", 0),
        ],
        [("adapter", "T2I_ADAPTER"), ("loss", "LOSS_MAP")],
    ),
    "SaveT2IAdapter": (
        "Save T2I-Adapter",
        [
            ("adapter", "T2I_ADAPTER", None),
            ("filename_prefix", "STRING", "t2i_adapters/adapter"),
            ("format", "COMBO", "original"),
            ("dtype", "COMBO", "fp32"),
        ],
        [],
    ),
}
COMBOS = {
    ("LoadT2IAdapter", "color_order"): ["auto", "rgb", "bgr"],
    ("LoadT2IAdapter", "dtype"): ["auto", "fp32", "fp16", "bf16"],
    ("CombineT2IAdapters", "method"): ["sum", "mean", "coadapter"],
    ("ApplyT2IAdapter", "fit"): ["crop", "stretch", "pad"],
    ("T2IAdapterSchedule", "interpolation"): ["constant", "linear", "ease in", "ease out", "ease in-out"],
    ("T2IAdapterSchedule", "unit"): ["noise schedule", "sampling steps"],
    ("CreateT2IAdapter", "size"): ["base", "small", "tiny"],
    ("CreateT2IAdapter", "image_channels"): ["3", "1"],
    ("TrainT2IAdapter", "timesteps"): ["cubic", "uniform", "late", "logit-normal"],
    ("TrainT2IAdapter", "precision"): ["fp32", "bf16", "fp16"],
    ("TrainT2IAdapter", "lr_scheduler"): ["constant", "cosine", "linear"],
    ("SaveT2IAdapter", "format"): ["original", "diffusers"],
    ("SaveT2IAdapter", "dtype"): ["fp32", "fp16", "bf16"],
}


@pytest.fixture(scope="module")
def nodes(inside_comfyui) -> dict[str, Any]:
    """The node classes, as ComfyUI's loader gets them."""
    import t2i_adapter_pack

    extension = asyncio.run(t2i_adapter_pack.comfy_entrypoint())
    return {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}


def test_the_extension_registers_every_node_of_the_contract(nodes):
    assert set(CONTRACT) <= set(nodes)


@pytest.mark.parametrize("node_id", CONTRACT)
def test_the_ids_types_defaults_and_order_are_those_of_the_contract(nodes, node_id):
    name, inputs, outputs = CONTRACT[node_id]
    schema = nodes[node_id].GET_SCHEMA()
    assert schema.display_name == name
    got = [(one.id, one.get_io_type(), getattr(one, "default", None)) for one in schema.inputs]
    assert got[: len(inputs)] == inputs
    assert [(one.id, one.get_io_type()) for one in schema.outputs] == outputs
    assert [one.display_name or one.id for one in schema.outputs] == [output for output, _ in outputs]
    for (node, combo), options in COMBOS.items():
        if node == node_id:
            assert next(one for one in schema.inputs if one.id == combo).options == options


def test_only_what_refines_may_be_left_open(nodes):
    optional = {one.id for node_id in CONTRACT for one in nodes[node_id].GET_SCHEMA().inputs if one.optional}
    assert "mask" in optional
    # Widgets of later versions, which older workflows do not have.
    later = {"gradient_checkpointing", "preview_every", "width", "height", "latent", "show_image"}
    later |= {"held_out_share", "validate_every", "lr_scheduler", "lr_warmup_steps"}
    assert optional <= {"mask", "weights", "curve", "fuser", "positive", "bboxes", "empty", "start_from", *later}


def test_the_ranges_of_apply_are_those_of_the_contract(nodes):
    inputs = {one.id: one for one in nodes["ApplyT2IAdapter"].GET_SCHEMA().inputs}
    strength = inputs["strength"]
    assert (strength.min, strength.max, strength.step) == (-10.0, 10.0, 0.05)
    assert {(inputs[name].min, inputs[name].max) for name in ("start_percent", "end_percent")} == {(0.0, 1.0)}
    style = {one.id: one for one in nodes["ApplyT2IStyleAdapter"].GET_SCHEMA().inputs}["strength"]
    assert (style.min, style.max) == (0.0, 10.0)


def test_every_node_has_a_help_page(nodes):
    from pathlib import Path

    pages = Path(__file__).absolute().parents[2] / "web" / "docs"
    for node_id, node in nodes.items():
        text = (pages / f"{node_id}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {node.GET_SCHEMA().display_name}\n")


def test_every_node_explains_itself_and_all_of_its_sockets(nodes):
    for node_id, node in nodes.items():
        schema = node.GET_SCHEMA()
        schema.validate()
        assert schema.category.split("/")[0] == "T2I-Adapter", node_id
        assert schema.description, node_id
        assert schema.search_aliases, node_id
        for one in (*schema.inputs, *schema.outputs):
            assert one.tooltip, f"{node_id}.{one.id}"
            assert one.tooltip.endswith((".", "!", "?")), f"{node_id}.{one.id}"


def test_every_node_has_a_help_page_about_all_of_its_inputs(nodes):
    import t2i_adapter_pack

    folder = Path(t2i_adapter_pack.__file__).parent / t2i_adapter_pack.WEB_DIRECTORY / "docs"
    for node_id, node in nodes.items():
        text = (folder / f"{node_id}.md").read_text(encoding="utf-8")
        assert text.startswith("# "), node_id
        if node_id.startswith(("T2IAnnotate", "T2IDetect")):
            for one in node.GET_SCHEMA().inputs:
                assert f"`{one.id}`" in text, f"{node_id}.{one.id}"


def test_the_page_gets_the_definitions(nodes):
    """What ComfyUI serves at /object_info, which also calls every lazy option list."""
    for node_id, node in nodes.items():
        info = node.GET_NODE_INFO_V1()
        assert info["name"] == node_id
        assert info["display_name"]
        assert len(info["output_tooltips"]) == len(info["output"])


def test_defaults_of_execute_are_those_of_the_widgets(nodes):
    import inspect

    for node in nodes.values():
        parameters = inspect.signature(node.execute).parameters
        # Train T2I-Adapter takes its many settings as keywords: the schema alone has their defaults.
        has_keywords = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
        for one in node.GET_SCHEMA().inputs:
            assert one.id in parameters or has_keywords
            if one.id not in parameters:
                continue
            default = parameters[one.id].default
            if default is not inspect.Parameter.empty and not one.optional:
                # A dynamic combo has no default of its own: its first option is it.
                first = one.options[0].key if hasattr(one, "options") and not hasattr(one, "default") else None
                assert default == getattr(one, "default", first)


# --- T2IAdapterInfo --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "facts"),
    [
        (tiny.adapter_config(), ["family: SD1.x / SD2.x", "kind: full", "32 (1/8)", "image channels: 3 (RGB)"]),
        (tiny.adapter_config("SDXL", 1), ["family: SDXL", "128 (1/32)", "image channels: 1 (gray)"]),
        (
            tiny.adapter_config(kind="light", inner_channels=(8, 16, 32, 32), num_res_blocks=4),
            ["kind: light, 4 residual blocks per level", "parameters: 0.2 M"],
        ),
    ],
    ids=["SD", "SDXL gray", "light"],
)
def test_info_tells_what_the_file_is(nodes, config, facts):
    adapter = tiny.adapter(config)
    output = nodes["T2IAdapterInfo"].execute(adapter)
    assert output[0] is adapter
    text = output[1]
    assert [line.partition(":")[0] for line in text.splitlines()] == [
        "file", "family", "kind", "levels", "condition", "image channels", "parameters", "precision", "file format",
    ]  # fmt: skip
    for fact in (*facts, "precision: float32", "safetensors"):
        assert fact in text


def test_info_names_the_condition_of_a_published_file(nodes, tmp_path):
    from t2i_adapter_pack.nodes.loading import adapters

    path = tiny.save_adapter(tmp_path, tiny.adapter_config(), name="t2iadapter_sketch_sd15v2")
    adapter = adapters.wrap_adapter(path, path.name, None, bgr=None, dtype=torch.bfloat16)
    text = nodes["T2IAdapterInfo"].execute(adapter)[1]
    assert "file: t2iadapter_sketch_sd15v2.safetensors" in text
    assert "family: SD1.x\n" in text
    assert "condition: sketch: white sketch lines on black" in text
    assert "computes in torch.bfloat16" in text


# Rare inputs, which Nodes 2.0 folds away; the classic page shows all.
ADVANCED = {
    "LoadT2IAdapter": {"color_order", "dtype"},
    "T2IAdapterSchedule": {"unit"},
    "T2IAnnotateCanny": {"resolution", "l2_gradient"},
    "TrainT2IAdapter": {
        *("timesteps", "prompt_dropout", "condition_dropout", "ema", "gradient_accumulation", "precision", "seed"),
        *("save_every", "gradient_checkpointing", "held_out_share", "validate_every"),
        *("lr_scheduler", "lr_warmup_steps"),
    },
}
WIDGETS = ("INT", "FLOAT", "BOOLEAN", "STRING", "COMBO", "COMFY_DYNAMICCOMBO_V3")


def widgets(inputs):
    """The inputs that a page shows as widgets, with those of each dynamic choice's longest option."""
    for row in inputs:
        if row.get_io_type() in WIDGETS and not (row.extra_dict or {}).get("forceInput"):
            yield row
            yield from max((list(widgets(option.inputs)) for option in getattr(row, "options", ())
                            if hasattr(option, "inputs")), key=len, default=[])  # fmt: skip


def test_rare_inputs_are_advanced_and_six_widgets_at_most_show(nodes):
    for name, node in nodes.items():
        rows = list(widgets(node.GET_SCHEMA().inputs))
        rare = {row.id for row in rows if row.advanced}
        assert len(rows) - len(rare) <= 6, (name, [row.id for row in rows if not row.advanced])
        assert ADVANCED.get(name, rare) == rare
        assert "resolution" not in {row.id for row in rows} - rare


# --- PreviewT2IAdapterFeatures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_preview_paints_the_four_maps(nodes, kind):
    adapter, image = tiny.adapter(tiny.adapter_config(kind)), tiny.hint(96, 160, 2)
    output = nodes["PreviewT2IAdapterFeatures"].execute(adapter, image, 256, 128)
    maps = output[0]
    assert maps.shape == (4, 128, 256, 3)
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert maps.max() == 1
    assert all(picture.std() > 0.01 for picture in maps)
    assert len(output.ui.as_dict()["images"]) == 4


def test_preview_shows_where_the_adapter_acts(nodes):
    """An adapter without biases makes nothing of black."""
    adapter = tiny.adapter(tiny.adapter_config())
    with torch.no_grad():
        for name, parameter in adapter.network.named_parameters():
            parameter.mul_(0 if name.endswith("bias") else 1)
    image = torch.zeros(1, 128, 128, 3)
    image[:, :, 96:] = tiny.hint(128, 32)
    fine = nodes["PreviewT2IAdapterFeatures"].execute(adapter, image, 128, 128)[0][0]
    assert fine[:, :64].max() == 0
    assert fine[:, 96:].mean() > 0.1


def test_preview_of_an_empty_image_is_black_and_says_so(nodes, caplog):
    """An adapter has features for black too; dividing each level by its own maximum made them bright."""
    adapter = tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd15v2.pth")
    with torch.no_grad():
        for name, parameter in adapter.network.named_parameters():
            parameter.mul_(100 if name.endswith("bias") else 1)
    faint = torch.zeros(1, 64, 64, 3)
    faint[:, 32:34] = 0.06
    for image, told in ((torch.zeros(1, 64, 64, 3), "black everywhere"), (faint, "Nearly empty for this adapter: is it "
                        "white sketch lines on black?")):  # fmt: skip
        caplog.clear()
        maps = nodes["PreviewT2IAdapterFeatures"].execute(adapter, image, 128, 128)[0]
        assert maps.mean() < 0.05
        assert told in caplog.text
    caplog.clear()
    adapter = tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd15v2.pth")
    drawn = nodes["PreviewT2IAdapterFeatures"].execute(adapter, faint * 16, 128, 128)[0]
    assert drawn.max() == 1
    assert caplog.text == ""


def test_preview_has_one_scale_and_labels_its_levels(nodes):
    from t2i_adapter_pack.nodes.sampling.feature_maps import heat_maps, label_maps

    moved = [torch.full((1, 1, 8 >> level, 8 >> level), 1.0 / 2**level) for level in range(4)]
    maps = heat_maps(moved, (64, 128))
    assert [float(picture.sum(-1).mean()) for picture in maps] == pytest.approx([3.0, 1.5, 0.75, 0.375])
    labelled = label_maps(maps, moved)
    assert torch.equal(labelled[:, :64], maps)
    captions = labelled[:, 64:]
    assert all(caption.max() == 1 for caption in captions)
    assert len({caption.numpy().tobytes() for caption in captions}) == 4


def test_preview_refuses_what_is_no_picture(nodes):
    from t2i_adapter_pack.adapter_models.errors import HintError

    with pytest.raises(HintError):
        nodes["PreviewT2IAdapterFeatures"].execute(tiny.adapter(tiny.adapter_config()), torch.zeros(1, 8, 8, 7), 64, 64)


@pytest.mark.parametrize("name", ["strength", "start_percent", "end_percent"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(sd, name, value):
    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(64, 64)
    with pytest.raises(ValueError, match=f"Apply T2I-Adapter, {name}: got {value}; expected a number"):
        tiny.apply(sd, adapter, image, **{name: value})


def test_a_fit_that_a_link_brings_is_checked(sd):
    with pytest.raises(ValueError, match="fit: got 'tile'; expected one of crop, stretch, pad"):
        tiny.apply(sd, tiny.adapter(tiny.adapter_config()), tiny.hint(64, 64), fit="tile")
