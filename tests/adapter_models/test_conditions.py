"""Names and metadata: what the published files are called says what they are for; nothing else does."""

import pytest
from t2i_adapter_pack.adapter_models import conditions

PUBLISHED = {
    "t2iadapter_sketch_sd14v1.pth": ("sketch", "SD1.x"),
    "t2iadapter_canny_sd14v1.pth": ("canny", "SD1.x"),
    "t2iadapter_keypose_sd14v1.pth": ("keypose", "SD1.x"),
    "t2iadapter_openpose_sd14v1.pth": ("openpose", "SD1.x"),
    "t2iadapter_seg_sd14v1.pth": ("segmentation", "SD1.x"),
    "t2iadapter_depth_sd14v1.pth": ("depth", "SD1.x"),
    "t2iadapter_color_sd14v1.pth": ("color", "SD1.x"),
    "t2iadapter_style_sd14v1.pth": ("style", "SD1.x"),
    "t2iadapter_canny_sd15v2.pth": ("canny", "SD1.x"),
    "t2iadapter_sketch_sd15v2.pth": ("sketch", "SD1.x"),
    "t2iadapter_depth_sd15v2.pth": ("depth", "SD1.x"),
    "t2iadapter_zoedepth_sd15v1.pth": ("zoedepth", "SD1.x"),
    "t2iadapter_color-fp16.safetensors": ("color", None),
    "coadapter-canny-sd15v1.pth": ("canny", "SD1.x"),
    "coadapter-sketch-sd15v1.pth": ("sketch", "SD1.x"),
    "coadapter-depth-sd15v1.pth": ("depth", "SD1.x"),
    "coadapter-color-sd15v1.pth": ("color", "SD1.x"),
    "t2iadapter_seg_sd21": ("segmentation", "SD2.x"),
    "adapter-xl-canny.pth": ("canny", "SDXL"),
    "adapter-xl-sketch.pth": ("sketch", "SDXL"),
    "adapter-xl-openpose.pth": ("openpose", "SDXL"),
    "TencentARC/t2i-adapter-canny-sdxl-1.0": ("canny", "SDXL"),
    "TencentARC/t2i-adapter-sketch-sdxl-1.0": ("sketch", "SDXL"),
    "TencentARC/t2i-adapter-lineart-sdxl-1.0": ("lineart", "SDXL"),
    "TencentARC/t2i-adapter-openpose-sdxl-1.0": ("openpose", "SDXL"),
    "TencentARC/t2i-adapter-depth-midas-sdxl-1.0": ("depth", "SDXL"),
    "TencentARC/t2i-adapter-depth-zoe-sdxl-1.0": ("zoedepth", "SDXL"),
    "TencentARC/t2i-adapter-recolor-sdxl-1.0": ("recolor", "SDXL"),
    "sketch_sdxl_1.0": ("sketch", "SDXL"),
}


@pytest.mark.parametrize(("name", "condition"), [(name, row[0]) for name, row in PUBLISHED.items()])
def test_published_names_tell_the_condition(name, condition):
    assert conditions.condition_of(name, {}).name == condition


@pytest.mark.parametrize(("name", "family"), [(name, row[1]) for name, row in PUBLISHED.items()])
def test_published_names_tell_the_family(name, family):
    assert conditions.stated_family(name, {}) == family


@pytest.mark.parametrize("name", ["adapter.safetensors", "diffusion_pytorch_model.safetensors", "model v3", "x", ""])
def test_other_names_tell_nothing(name):
    assert conditions.condition_of(name, {}) is None
    assert conditions.stated_family(name, {}) is None


@pytest.mark.parametrize("row", conditions.CONDITIONS, ids=lambda row: row.name)
def test_metadata_goes_before_the_name(row):
    metadata = {conditions.CONDITION_KEY: row.name, conditions.FAMILY_KEY: "SDXL"}
    assert conditions.condition_of("t2iadapter_canny_sd14v1", metadata) is row
    assert conditions.stated_family("t2iadapter_canny_sd14v1", metadata) == "SDXL"


def test_every_condition_is_found_by_its_own_words_and_says_what_it_expects():
    for row in conditions.CONDITIONS:
        assert row.expects
        assert conditions.condition_of(f"my_{row.words[0]}_adapter", {}) is row


def test_names_of_conditions_are_unique():
    names = [row.name for row in conditions.CONDITIONS]
    assert len(set(names)) == len(names)


# --- what tells it ---------------------------------------------------------------------------------------------------

SD, XL = ("SD1.x", "SD2.x"), ("SDXL",)


@pytest.mark.parametrize(
    ("name", "member", "config", "metadata", "condition", "told_by"),
    [
        ("canny.pth", None, {}, {}, "canny", conditions.NAME),
        ("renamed.pth", None, {}, {}, None, ""),
        ("canny.ckpt#depth", "depth", {}, {}, "depth", conditions.BUNDLE),
        (
            "my canny",
            None,
            {"_name_or_path": "TencentARC/t2i-adapter-sketch-sdxl-1.0"},
            {},
            "sketch",
            conditions.CONFIG,
        ),
        ("canny.safetensors", None, {}, {conditions.CONDITION_KEY: "color"}, "color", conditions.METADATA),
        # The file knows better than its name, even where we don't know the word.
        ("canny.safetensors", None, {}, {conditions.CONDITION_KEY: "hands"}, None, conditions.METADATA),
    ],
)
def test_the_content_goes_before_the_name(name, member, config, metadata, condition, told_by):
    purpose = conditions.purpose_of(name, member, config, metadata)
    assert (purpose.condition and purpose.condition.name, purpose.condition_from) == (condition, told_by)


@pytest.mark.parametrize(
    ("name", "metadata", "families", "family", "told_by"),
    [
        ("t2iadapter_canny_sd15v2", {}, SD, "SD1.x", conditions.NAME),
        ("renamed", {}, SD, None, ""),
        ("t2iadapter_canny_sd15v2", {conditions.FAMILY_KEY: "SD2.x"}, SD, "SD2.x", conditions.METADATA),
        ("t2iadapter_canny_sd15v2", {}, XL, "SDXL", conditions.SHAPES),
        ("renamed", {}, XL, "SDXL", conditions.SHAPES),
        # No name goes against the shapes.
        ("openpose_xl_style", {}, SD, None, ""),
    ],
)
def test_the_shapes_go_before_names(name, metadata, families, family, told_by):
    purpose = conditions.purpose_of(name, None, {}, metadata, families)
    assert (purpose.family, purpose.family_from) == (family, told_by)


@pytest.mark.parametrize(
    ("name", "metadata", "families", "bgr", "told_by"),
    [
        ("adapter-xl-openpose", {}, XL, True, conditions.NAME),
        ("adapter-xl-sketch", {}, XL, False, conditions.NAME),
        ("renamed", {}, XL, False, ""),
        ("renamed", {conditions.COLOR_ORDER_KEY: "bgr"}, XL, True, conditions.METADATA),
        ("adapter-xl-openpose", {conditions.COLOR_ORDER_KEY: "rgb"}, XL, False, conditions.METADATA),
        ("renamed", {conditions.CONDITION_KEY: "openpose"}, XL, True, conditions.METADATA),
        ("t2iadapter_openpose_sd14v1", {}, SD, False, conditions.SHAPES),
        ("renamed", {}, SD, False, conditions.SHAPES),
        ("openpose_xl", {}, SD, False, conditions.SHAPES),
        # Three levels fit both.
        ("openpose-sdxl", {}, conditions.FAMILY_NAMES, True, conditions.NAME),
        ("openpose-sd15", {}, conditions.FAMILY_NAMES, False, conditions.NAME),
        ("renamed", {}, conditions.FAMILY_NAMES, False, ""),
    ],
)
def test_the_order_of_colours_says_what_decided_it(name, metadata, families, bgr, told_by):
    purpose = conditions.purpose_of(name, None, {}, metadata, families)
    assert conditions.color_order_of(purpose, metadata, families) == conditions.ColorOrder(bgr, told_by)
