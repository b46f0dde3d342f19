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
    assert conditions.family_of(name, {}) == family


@pytest.mark.parametrize("name", ["adapter.safetensors", "diffusion_pytorch_model.safetensors", "model v3", "x", ""])
def test_other_names_tell_nothing(name):
    assert conditions.condition_of(name, {}) is None
    assert conditions.family_of(name, {}) is None


@pytest.mark.parametrize("row", conditions.CONDITIONS, ids=lambda row: row.name)
def test_metadata_goes_before_the_name(row):
    metadata = {conditions.CONDITION_KEY: row.name, conditions.FAMILY_KEY: "SDXL"}
    assert conditions.condition_of("t2iadapter_canny_sd14v1", metadata) is row
    assert conditions.family_of("t2iadapter_canny_sd14v1", metadata) == "SDXL"


def test_every_condition_is_found_by_its_own_words_and_says_what_it_expects():
    for row in conditions.CONDITIONS:
        assert row.expects
        assert conditions.condition_of(f"my_{row.words[0]}_adapter", {}) is row


def test_names_of_conditions_are_unique():
    names = [row.name for row in conditions.CONDITIONS]
    assert len(set(names)) == len(names)
