"""Saved adapters: names that round-trip, and files that diffusers and our own loader read as the same network."""

import json

import pytest
import torch
from safetensors.torch import save_file
from t2i_adapter_pack.adapter_models import networks, saving
from t2i_adapter_pack.adapter_models.conditions import CONDITIONS
from t2i_adapter_pack.adapter_models.errors import AdapterError
from t2i_adapter_pack.adapter_models.formats import FORMATS
from t2i_adapter_pack.adapter_models.loading import load_adapter_file

from . import samples


def build(config, seed=0):
    network = networks.build_adapter(config)
    network.load_state_dict(samples.weights(config, seed))
    return network


def save(tmp_path, network, layout, dtype=torch.float32, **metadata):
    """Write a file or a folder as the node does."""
    row = saving.layout_named(layout)
    path = tmp_path / ("diffusion_pytorch_model.safetensors" if row.folder else "adapter.safetensors")
    tensors = saving.tensors_for_file(network, row, dtype)
    save_file(tensors, path, dict(saving.metadata_for_file(network.config, **metadata)))
    if row.folder:
        (tmp_path / "config.json").write_text(json.dumps(saving.diffusers_config(network.config)))
        return tmp_path
    return path


ALL = {**samples.COMMON, **samples.ORIGINAL_ONLY}


ROUND_TRIPS = [
    pytest.param(row, config, id=f"{row.name}, {name}")
    for row in FORMATS
    for name, config in ALL.items()
    if row.kind == config.kind and (name in samples.COMMON or row.name != "diffusers")
]


@pytest.mark.parametrize(("row", "config"), ROUND_TRIPS)
def test_names_round_trip(row, config):
    for own in samples.shapes_of(config):
        assert row.rename(row.name_in_file(own, config.num_res_blocks), config.num_res_blocks) == own


@pytest.mark.parametrize("name", samples.COMMON)
def test_the_names_are_those_that_diffusers_writes(name):
    config = samples.COMMON[name]
    row = next(row for row in FORMATS if row.kind == config.kind and row.name == "diffusers")
    expected = set(samples.as_diffusers(samples.weights(config), config))
    assert {row.name_in_file(own, config.num_res_blocks) for own in samples.shapes_of(config)} == expected


# What our own trainer makes; diffusers has no light adapter for SDXL.
BOTH = [samples.full(1), samples.full(3), samples.xl(1), samples.xl(3), samples.light(1), samples.light(3)]


@pytest.mark.parametrize("layout", ["original", "diffusers"])
@pytest.mark.parametrize("config", BOTH, ids=str)
def test_saved_and_loaded_again_it_is_the_same(tmp_path, config, layout):
    network = build(config)
    loaded, info = load_adapter_file(save(tmp_path, network, layout))
    assert loaded.config == config
    assert info.layout.startswith(layout)
    assert loaded.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.parametrize("config", samples.ORIGINAL_ONLY.values(), ids=samples.ORIGINAL_ONLY)
def test_shapes_that_diffusers_lacks_are_saved_in_the_original_layout_alone(tmp_path, config):
    network = build(config)
    assert load_adapter_file(save(tmp_path, network, "original"))[0].config == config
    with pytest.raises(AdapterError, match="Set format to original"):
        save(tmp_path, network, "diffusers")


@pytest.mark.parity
@pytest.mark.parametrize("config", BOTH, ids=str)
def test_diffusers_loads_it_with_equal_features(tmp_path, config):
    from diffusers import T2IAdapter

    network = build(config)
    theirs = T2IAdapter.from_pretrained(str(save(tmp_path, network, "diffusers")))
    image = torch.rand(1, config.image_channels, 128, 192)
    with torch.no_grad():
        ours, expected = network(image), theirs(image)
    assert len(ours) == len(expected) == 4
    assert all(torch.equal(mine, other) for mine, other in zip(ours, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_precision_is_that_of_the_file(tmp_path, dtype):
    network = build(samples.full())
    loaded, info = load_adapter_file(save(tmp_path, network, "original", dtype))
    assert info.dtype == str(dtype).removeprefix("torch.")
    assert all(torch.equal(t, network.state_dict()[name].to(dtype)) for name, t in loaded.state_dict().items())
    assert next(network.parameters()).dtype == torch.float32


def test_weights_too_large_for_fp16_are_refused():
    network = build(samples.full())
    with torch.no_grad():
        network.conv_in.weight[0, 0, 0, 0] = 1e6
    with pytest.raises(AdapterError, match=r"conv_in\.weight not finite"):
        saving.tensors_for_file(network, saving.layout_named("original"), torch.float16)


@pytest.mark.parametrize("condition", [row.name for row in CONDITIONS])
def test_the_loader_reads_the_metadata(tmp_path, condition):
    path = save(tmp_path, build(samples.full()), "original", condition=condition, family="SD2.x", training='{"a": 1}')
    info = load_adapter_file(path, "t2iadapter_canny_sd15v2.safetensors")[1]
    assert info.condition.name == condition
    assert info.family == "SD2.x"
    assert info.metadata[saving.TRAINING_KEY] == '{"a": 1}'
    assert info.metadata[saving.KIND_KEY] == "full"


@pytest.mark.parametrize("bgr", [False, True])
def test_the_order_of_colours_is_kept_against_the_published_one(tmp_path, bgr):
    """Published SDXL pose adapters take BGR, so without a word in the file that would be assumed of this one."""
    path = save(tmp_path, build(samples.xl(3)), "original", condition="openpose", family="SDXL", bgr=bgr)
    assert load_adapter_file(path)[1].bgr is bgr
    save_file(samples.weights(samples.xl(3)), path)
    assert load_adapter_file(path, "adapter-xl-openpose")[1].bgr


def test_what_is_not_known_is_not_written(tmp_path):
    info = load_adapter_file(save(tmp_path, build(samples.full()), "original"))[1]
    assert (info.condition, info.family) == (None, None)


def test_an_unknown_layout_is_named():
    with pytest.raises(AdapterError, match="one of original, diffusers"):
        saving.layout_named("lightning")
