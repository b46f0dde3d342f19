"""The networks compute what diffusers and ComfyUI core compute, from weights that went through a file of theirs."""

import copy
import importlib.util
import math

import pytest
import torch
from t2i_adapter_pack.adapter_models import loading, networks

from . import samples

# Sizes in cells of the coarsest level, where all implementations agree to the last bit.
WHOLE = ((1, 1), (2, 3))
ODD_SD = ((264, 328), (72, 104), (8, 8), (8, 136))
ODD_XL = ((272, 336), (48, 16), (16, 144))


def picture(channels, size, batch=2):
    return torch.rand(batch, channels, *size, generator=torch.Generator().manual_seed(7))


def from_diffusers(config, folder):
    """A random network of diffusers, and ours from the folder that it saves itself to."""
    from diffusers import T2IAdapter

    torch.manual_seed(0)
    json = samples.diffusers_config(config)
    theirs = T2IAdapter(**{name: value for name, value in json.items() if not name.startswith("_")}).eval()
    theirs.save_pretrained(folder)
    network, info = loading.load_adapter_file(folder)
    assert network.config == config
    assert info.layout == "diffusers"
    # Kernels round by where the weights lie in memory, and in a mapped file they lie anywhere.
    return theirs, copy.deepcopy(network)


@pytest.fixture(scope="module")
def core(comfyui_path):
    """ComfyUI core's file of adapter networks; it needs nothing else of ComfyUI."""
    spec = importlib.util.spec_from_file_location("core_adapter", comfyui_path / "comfy/t2i_adapter/adapter.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def from_core(core, config, folder):
    """A random network of ComfyUI core, and ours from a file of its weights."""
    torch.manual_seed(0)
    channels, blocks, cin = list(config.channels), config.num_res_blocks, config.in_channels
    if config.kind == "light":
        theirs = core.Adapter_light(channels, blocks, cin)
    else:
        shape = (config.kernel_size, config.identity_skip, config.conv_down, config.unshuffle == 16)
        theirs = core.Adapter(channels, blocks, cin, *shape)
    network, info = loading.load_adapter_file(samples.save(folder, theirs.eval().state_dict(), "pth"))
    assert network.config == config
    assert info.layout == "original (TencentARC)"
    return theirs, network


@torch.no_grad()
def differences(features, expected):
    assert [tuple(level.shape) for level in features] == [tuple(level.shape) for level in expected]
    return max(float((level - other).abs().max()) for level, other in zip(features, expected, strict=True))


def core_features(output, *, xl):
    """The levels in core's padded lists, which run from coarse to fine, fine to coarse."""
    blocks = output["input"][::-1]
    placed = [index for index, level in enumerate(blocks) if level is not None]
    assert placed == ([3, 5, 8] if xl else [2, 5, 8, 11])
    return [blocks[index] for index in placed] + (output["middle"] if xl else [])


@pytest.mark.parity
@torch.no_grad()
@pytest.mark.parametrize("name", samples.COMMON)
def test_features_equal_those_of_diffusers(name, tmp_path):
    config = samples.COMMON[name]
    theirs, ours = from_diffusers(config, tmp_path)
    xl = config.down_levels == samples.XL_DOWN
    cell = 32 if xl else 64
    for rows, columns in WHOLE:
        image = picture(config.image_channels, (rows * cell, columns * cell))
        assert differences(ours(image), theirs(image)) == 0
    for size in ODD_XL if xl else ODD_SD:
        image = picture(config.image_channels, size)
        assert differences(ours(image), theirs(image)) <= 1e-5


CORE = {
    name: config
    for name, config in {**samples.COMMON, **samples.ORIGINAL_ONLY}.items()
    # Core's residual convolution works on equal widths only, its light adapter has a quarter of the width, and its
    # table of features knows four levels.
    if config.identity_skip and len(config.channels) == 4 and name not in ("light a half", "light an eighth")
}


@pytest.mark.parity
@torch.no_grad()
@pytest.mark.parametrize("name", CORE)
def test_features_equal_those_of_comfyui_at_whole_cells(name, core, tmp_path):
    config = CORE[name]
    theirs, ours = from_core(core, config, tmp_path)
    xl = config.unshuffle == 16
    for rows, columns in WHOLE:
        image = picture(config.image_channels, (rows * (32 if xl else 64), columns * (32 if xl else 64)))
        assert differences(ours(image), core_features(theirs(image), xl=xl)) == 0


@pytest.mark.parity
@torch.no_grad()
@pytest.mark.parametrize("size", ODD_SD)
def test_strided_convolutions_equal_those_of_comfyui_at_any_size(size, core, tmp_path):
    theirs, ours = from_core(core, samples.ORIGINAL_ONLY["full convolution shrinks"], tmp_path)
    assert differences(ours(image := picture(3, size)), core_features(theirs(image), xl=False)) <= 1e-5


@pytest.mark.parity
@torch.no_grad()
def test_a_residual_convolution_equals_that_of_comfyui_on_equal_widths(core, tmp_path):
    changes = {"identity_skip": False, "channels": (8, 8, 8, 8), "num_res_blocks": 1}
    config = samples.full(1, **changes)
    torch.manual_seed(0)
    theirs = core.Adapter([8] * 4, 1, 64, 1, False, False, False).eval()
    ours = networks.build_adapter(config).eval()
    ours.load_state_dict(theirs.state_dict())
    image = picture(1, (128, 64))
    assert differences(ours(image), core_features(theirs(image), xl=False)) == 0


@pytest.mark.parity
@torch.no_grad()
def test_the_published_size_equals_diffusers_and_comfyui(core, tmp_path):
    config = samples.full(1, channels=(320, 640, 1280, 1280))
    theirs, ours = from_diffusers(config, tmp_path)
    assert sum(parameter.numel() for parameter in ours.parameters()) == 77_000_640
    image = picture(1, (64, 64), batch=1)
    features = ours(image)
    assert differences(features, theirs(image)) == 0
    with torch.device("meta"):
        other = core.Adapter([320, 640, 1280, 1280], 2, 64, 1, True, False, False)
    other.load_state_dict(ours.state_dict(), assign=True)
    assert differences(features, core_features(other(image), xl=False)) == 0


ALL = {**samples.COMMON, **samples.ORIGINAL_ONLY}


@torch.no_grad()
@pytest.mark.parametrize("name", ALL)
def test_each_level_has_its_width_and_its_size_rounded_up(name):
    config = ALL[name]
    network = networks.build_adapter(config)
    for cells in ((1, 1), (5, 3), (8, 9)):
        size = tuple(config.unshuffle * count for count in cells)
        for level, width, stride in zip(
            network(picture(config.image_channels, size)), config.channels, config.strides, strict=True
        ):
            assert level.shape == (2, width, *(math.ceil(side / stride) for side in size))


@torch.no_grad()
@pytest.mark.parametrize("name", ["full 1 channel", "XL 3 channels", "light a quarter"])
def test_rows_of_a_batch_are_independent(name):
    network = networks.build_adapter(samples.COMMON[name])
    image = picture(samples.COMMON[name].image_channels, (96, 64), batch=3)
    together = network(image)
    for row in range(3):
        assert differences([level[row : row + 1] for level in together], network(image[row : row + 1])) <= 1e-5


def test_shrinking_averages_whole_cells_and_keeps_their_phase_at_odd_sizes():
    shrink = networks.Downsample(1, False, networks.DEFAULT_OPERATIONS)
    row = torch.tensor([1.0, 2, 3, 4, 5]).view(1, 1, 1, 5)
    assert shrink(row.expand(1, 1, 2, 5)).flatten().tolist() == [1.5, 3.5, 5.0]
    assert shrink(row.view(1, 1, 5, 1)).flatten().tolist() == [1.5, 3.5, 5.0]


@torch.no_grad()
def test_a_block_adds_its_residual_by_hand():
    block = networks.ResnetBlock(1, 1, False, samples.full(), networks.DEFAULT_OPERATIONS)
    for layer, weight, bias in ((block.block1, 2.0, -1.0), (block.block2, 3.0, 0.5)):
        layer.weight.zero_()
        layer.weight[0, 0, layer.weight.shape[2] // 2, layer.weight.shape[3] // 2] = weight
        layer.bias.fill_(bias)
    x = torch.tensor([[0.25, 1.0]]).view(1, 1, 1, 2)
    # 3·relu(2x − 1) + 0.5 + x
    assert block(x).flatten().tolist() == [0.75, 4.5]


def test_building_on_meta_allocates_nothing():
    network = networks.build_adapter(samples.full(channels=(320, 640, 1280, 1280)), device="meta")
    assert all(parameter.is_meta for parameter in network.parameters())
    assert not networks.build_adapter(samples.full()).conv_in.weight.is_meta
