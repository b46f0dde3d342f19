"""The table of layouts: exactly one row fits each published file, and the shapes alone give the config."""

import pytest
import torch
from t2i_adapter_pack.adapter_models import formats, networks
from t2i_adapter_pack.adapter_models import shapes as shapes_of
from t2i_adapter_pack.adapter_models.errors import CorruptFileError, NotAnAdapterError

from . import samples

LAYOUTS = pytest.mark.parametrize(("config", "naming"), samples.LAYOUTS.values(), ids=samples.LAYOUTS)


def shapes_in_file(config, naming):
    """Shapes by normalised names, of a file in a layout."""
    tensors = samples.named(samples.weights(config), config, naming)
    return {name: tuple(tensor.shape) for name, tensor in formats.strip_prefixes("file", tensors).items()}


def rows_that_match(shapes):
    return [
        row
        for row in formats.FORMATS
        if all(name in shapes for name in row.required) and not any(name in shapes for name in row.banned)
    ]


@LAYOUTS
def test_exactly_one_row_matches_each_layout(config, naming):
    rows = rows_that_match(shapes_in_file(config, naming))
    assert [row.kind for row in rows] == [config.kind]
    assert rows[0].name.startswith(naming)


@LAYOUTS
def test_the_config_comes_from_shapes_alone(config, naming):
    shapes = shapes_in_file(config, naming)
    assert shapes_of.read_config("file", formats.detect("file", shapes), shapes, {}) == config


@LAYOUTS
def test_the_names_become_those_of_the_network(config, naming):
    row = formats.detect("file", shapes := shapes_in_file(config, naming))
    renamed = {row.rename(name, config.num_res_blocks): shape for name, shape in shapes.items()}
    assert renamed == samples.shapes_of(config)
    network = networks.build_adapter(config, device="meta")
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == renamed


@pytest.mark.parametrize(
    ("config", "tensors", "parameters"),
    [
        (samples.full(1, channels=(320, 640, 1280, 1280)), 38, 77_000_640),
        (samples.full(3, channels=(320, 640, 1280, 1280)), 38, 77_369_280),
        (samples.xl(1, channels=(320, 640, 1280, 1280)), 38, 77_553_600),
        (samples.xl(3, channels=(320, 640, 1280, 1280)), 38, 79_028_160),
        (samples.light(3, channels=(320, 640, 1280, 1280)), 80, 18_689_200),
        (samples.light(3, divisor=8, channels=(320, 640, 1280, 1280)), 80, 5_083_960),
    ],
    ids=["sketch sd14", "depth sd14", "canny XL", "openpose XL", "color sd14", "tiny of the paper"],
)
def test_published_sizes_have_the_published_number_of_weights(config, tensors, parameters):
    state = networks.build_adapter(config, device="meta").state_dict()
    assert len(state) == tensors
    assert sum(tensor.numel() for tensor in state.values()) == parameters


@pytest.mark.parametrize(
    ("config", "strides"),
    [
        (samples.full(), (8, 16, 32, 64)),
        (samples.light(), (8, 16, 32, 64)),
        (samples.full(**samples.THREE), (8, 16, 32)),
        (samples.xl(), (16, 16, 32, 32)),
    ],
)
def test_strides_follow_from_the_levels_that_shrink(config, strides):
    assert config.strides == strides


def read(config, naming="original", **json):
    shapes = shapes_in_file(config, naming)
    return shapes_of.read_config("file", formats.detect("file", shapes), shapes, json)


@pytest.mark.parametrize("name", samples.COMMON)
def test_a_config_json_changes_nothing_that_the_shapes_tell(name):
    config = samples.COMMON[name]
    assert read(config, "diffusers", **samples.diffusers_config(config)) == config


def test_an_old_config_json_without_a_downscale_factor_means_eight():
    config = samples.full(1)
    json = samples.diffusers_config(config)
    del json["downscale_factor"]
    assert read(config, "diffusers", **json) == config


def test_cells_of_another_size_come_from_config_json():
    config = samples.full(3, unshuffle=4, channels=(8, 16), down_levels=(1,))
    assert read(config, "diffusers", **samples.diffusers_config(config)) == config
    with pytest.raises(NotAnAdapterError, match="first layer of 48 channels"):
        read(config, "diffusers")


@pytest.mark.parametrize(
    "changes",
    [
        {"in_channels": 1},
        {"downscale_factor": 16},
        {"downscale_factor": -8},
        {"in_channels": 12, "downscale_factor": -4},
        {"adapter_type": "light_adapter"},
        {"adapter_type": "full_adapter_xm"},
        {"adapter_type": "full_adapter_xl"},
        {"adapter_type": []},
        {"adapter_type": {"full_adapter": 1}},
    ],
    ids=str,
)
def test_a_config_json_that_contradicts_the_weights_is_refused(changes):
    config = samples.full(3)
    with pytest.raises(CorruptFileError, match=r"config\.json"):
        read(config, "diffusers", **{**samples.diffusers_config(config), **changes})


@pytest.mark.parametrize("lost", ["adapter_type", "in_channels", "downscale_factor"])
def test_a_config_json_that_lost_an_entry_still_gives_the_same_config(lost):
    for config in (samples.full(3), samples.xl(3), samples.xl(1), samples.light(3)):
        json = samples.diffusers_config(config)
        del json[lost]
        assert read(config, "diffusers", **json) == config


@pytest.mark.parametrize("width", [63, 128, 512, 0])
def test_a_first_layer_that_fits_no_picture_is_refused(width):
    shapes = {**shapes_in_file(samples.full(), "original"), "conv_in.weight": (8, width, 3, 3)}
    with pytest.raises(NotAnAdapterError, match=f"first layer of {width} channels"):
        shapes_of.read_config("file", formats.detect("file", shapes), shapes, {})


@pytest.mark.parametrize("shape", [(), (8,), (8, 64)])
def test_weights_of_too_few_dimensions_are_refused(shape):
    for name in ("conv_in.weight", "body.0.block2.weight", "body.0.block1.weight"):
        shapes = {**shapes_in_file(samples.full(1), "original"), name: shape}
        row = formats.detect("file", shapes)
        try:
            config = shapes_of.read_config("file", row, shapes, {})
        except (CorruptFileError, NotAnAdapterError):
            continue
        assert config == samples.full(1)


PREFIXES = ("", "adapter.", "module.", "module.adapter.", "adapter.module.")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", ["full 1 channel", "light a quarter"])
def test_prefixes_of_trainers_are_stripped(prefix, name):
    tensors = samples.weights(samples.COMMON[name])
    for layout in (tensors, samples.as_diffusers(tensors, samples.COMMON[name])):
        got = formats.strip_prefixes("file", samples.prefixed(prefix, layout))
        assert got.keys() == layout.keys()
        assert all(got[key] is layout[key] for key in layout)


def bundle(*names, prefix=""):
    tensors = {"coadapter_fuser.task_embedding": torch.zeros(16, 4), "coadapter_fuser.seq_proj": torch.zeros(4, 4)}
    for seed, name in enumerate(names):
        config = samples.light() if name == "color" else samples.full(1)
        tensors |= samples.prefixed(f"{prefix}adapters.{name}.", samples.weights(config, seed))
    return tensors


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_the_entries_of_a_bundle_are_listed_and_each_can_be_chosen(prefix):
    tensors = bundle("sketch", "canny", "color", prefix=prefix)
    assert formats.members(tensors) == ("canny", "color", "sketch")
    for seed, name in enumerate(("sketch", "canny", "color")):
        config = samples.light() if name == "color" else samples.full(1)
        got = formats.strip_prefixes("file", tensors, name)
        assert samples.same_bits(got, samples.weights(config, seed))


def test_a_bundle_of_one_needs_no_choice():
    assert samples.same_bits(formats.strip_prefixes("file", bundle("depth")), samples.weights(samples.full(1)))


@pytest.mark.parametrize("member", [None, "depth", ""])
def test_a_bundle_of_several_asks_for_a_choice_and_names_them(member):
    with pytest.raises(NotAnAdapterError, match=r"bundle of canny, sketch.*'file#canny'"):
        formats.strip_prefixes("file", bundle("sketch", "canny"), member)


def test_an_entry_of_a_file_that_is_no_bundle_is_refused():
    with pytest.raises(NotAnAdapterError, match="without an entry 'sketch'"):
        formats.strip_prefixes("file", samples.weights(samples.full()), "sketch")


def test_a_plain_file_has_no_entries():
    assert formats.members(samples.weights(samples.full())) == ()


@pytest.mark.parametrize(
    ("config", "stated", "factor"), [(samples.full(3), "full_adapter_xl", 8), (samples.xl(3), "full_adapter", 16)]
)
def test_a_type_that_goes_with_another_factor_is_told_as_that(config, stated, factor):
    json = {**samples.diffusers_config(config), "adapter_type": stated}
    with pytest.raises(CorruptFileError, match=f"fits no diffusion model: {stated} with downscale_factor {factor};"):
        read(config, "diffusers", **json)
