"""An adapter in use: features of pictures, computed once, in any precision, for any picture."""

import gc
import math

import pytest
import torch
from t2i_adapter_pack.adapter_models.errors import CorruptFileError

from . import engine, samples


def features(applied, hint, count=None, size=(64, 64), fit="crop", dtype=torch.float32, **values):
    count = len(hint) if count is None else count
    return applied.features(hint, count, size, fit, device=engine.CPU, dtype=dtype, **values)


CONFIGS = {
    "full": samples.full(),
    "full 1 channel": samples.full(1),
    "XL": samples.xl(),
    "XL 1 channel": samples.xl(1),
    "light": samples.light(),
    "three levels": samples.full(**samples.THREE),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("size", [(64, 64), (264, 328), (8, 8), (152, 104)])
def test_any_size_gives_features_of_the_unet_s_sizes(config, size):
    applied = engine.adapter(config)
    got = features(applied, engine.pictures(2, 50, 70), size=size)
    assert got.strides == config.strides
    for level, width, stride in zip(got.levels, config.channels, config.strides, strict=True):
        assert level.shape == (2, width, *(math.ceil(side / stride) for side in size))
        assert not level.requires_grad


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_pictures_of_any_channels_are_taken(config, channels):
    got = features(engine.adapter(config), torch.rand(1, channels, 64, 64))
    assert all(torch.isfinite(level).all() for level in got.levels)


def test_the_features_are_those_of_the_network():
    applied, hint = engine.adapter(), engine.pictures(2)
    with torch.no_grad():
        expected = applied.network(hint)
    for level, other in zip(features(applied, hint).levels, expected, strict=True):
        torch.testing.assert_close(level, other, rtol=1e-5, atol=1e-5)


def test_padding_leaves_the_cells_under_the_picture_s_interior_alone():
    applied, hint = engine.adapter(samples.xl()), engine.pictures(1, 128, 136)
    whole = features(applied, hint[..., :128].clone(), size=(128, 128))
    odd = features(applied, hint, size=(128, 136))
    assert odd.levels[0].shape[-2:] == (8, 9)
    # Five 3x3 convolutions before the first level's end: the last cells alone see the edge.
    torch.testing.assert_close(odd.levels[0][..., :3], whole.levels[0][..., :3], rtol=1e-5, atol=1e-5)


def test_one_picture_runs_the_network_once_whatever_else_changes():
    applied, hint = engine.adapter(), engine.pictures()
    forwards = engine.Forwards(applied)
    first = features(applied, hint)
    assert features(applied, hint) is first
    assert forwards.batches == [1]


@pytest.mark.parametrize("change", [{"size": (64, 72)}, {"fit": "pad"}, {"count": 1}], ids=str)
def test_what_changes_the_features_runs_the_network_again(change):
    applied, hint = engine.adapter(), engine.pictures(2)
    forwards = engine.Forwards(applied)
    features(applied, hint)
    features(applied, hint, **change)
    assert len(forwards.batches) == 2


def test_another_precision_runs_the_network_again():
    applied, hint = engine.adapter(), engine.pictures()
    forwards = engine.Forwards(applied)
    features(applied, hint)
    applied.network.double()
    assert features(applied, hint, dtype=torch.float64).levels[0].dtype == torch.float64
    assert len(forwards.batches) == 2


def test_red_and_blue_change_places_where_asked():
    hint = engine.pictures()
    swapped = features(engine.adapter(bgr=True), hint)
    plain = features(engine.adapter(), hint.flip(1))
    assert all(torch.equal(level, other) for level, other in zip(swapped.levels, plain.levels, strict=True))
    applied = engine.adapter()
    before = features(applied, hint)
    applied.bgr = True
    assert not torch.equal(features(applied, hint).levels[0], before.levels[0])


def test_many_pictures_go_in_parts_and_come_back_in_order():
    applied, hint = engine.adapter(), engine.pictures(19)
    forwards = engine.Forwards(applied)
    together = features(applied, hint)
    assert forwards.batches == [8, 8, 3]
    for number in (0, 7, 8, 18):
        alone = features(applied, hint[number : number + 1].clone())
        for level, other in zip(together.levels, alone.levels, strict=True):
            torch.testing.assert_close(level[number : number + 1], other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (3, 3), (9, 4)])
def test_only_the_pictures_wanted_are_computed(count, expected):
    assert len(features(engine.adapter(), engine.pictures(4), count).levels[0]) == expected


def test_the_adapter_s_own_precision_goes_first():
    applied = engine.adapter(dtype=torch.float32)
    assert features(applied, engine.pictures(), dtype=torch.float16).levels[0].dtype == torch.float32


def test_weights_and_picture_are_not_changed():
    applied, hint = engine.adapter(), engine.pictures()
    before, copy = samples.weights(samples.full()), hint.clone()
    features(applied, hint)
    assert samples.same_bits(applied.network.state_dict(), before)
    assert torch.equal(hint, copy)


def test_features_that_overflow_are_refused_with_the_way_out():
    applied = engine.adapter()
    with torch.no_grad():
        applied.network.body[7].block2.bias.fill_(math.inf)
    with pytest.raises(
        CorruptFileError, match=r"adapter 0: got NaN or infinite features in torch\.float32.*Compute in float32"
    ):
        features(applied, engine.pictures())
    assert applied.cache.nbytes == 0


def test_features_share_the_life_of_the_tensor_that_stands_for_the_picture():
    applied, image = engine.adapter(), torch.rand(1, 64, 64, 3)
    forwards = engine.Forwards(applied)
    # A view is a new tensor each time, as the host makes of an IMAGE.
    for _ in range(3):
        features(applied, image.movedim(-1, 1), source=image)
    gc.collect()
    assert forwards.batches == [1]
    del image
    gc.collect()
    assert applied.cache.nbytes == 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_memory_layout_of_the_picture_changes_nothing(layout):
    applied, hint = engine.adapter(), engine.pictures(2)
    first = features(applied, hint)
    again = features(applied, hint.contiguous(memory_format=layout).clone(memory_format=torch.preserve_format))
    assert all(torch.equal(level, other) for level, other in zip(first.levels, again.levels, strict=True))
