"""Condition images: fitting, channels, colours, padding and masks, against pixels worked out by hand."""

import math

import pytest
import torch
from t2i_adapter_pack.adapter_models import hint
from t2i_adapter_pack.adapter_models.errors import HintError


def ramp(height, width, channels=1):
    """Column number / 10 in every row."""
    return (torch.arange(width).float() / 10).expand(1, channels, height, width)


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("fit", hint.FITS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_the_right_size_and_channels_stays_bit_for_bit(fit, channels):
    image = noise(2, channels, 5, 7)
    assert torch.equal(hint.prepare_hint(image, (5, 7), fit, channels), image)


def test_crop_keeps_the_middle_of_a_wide_picture():
    assert hint.fit_to(ramp(2, 6), (2, 2), "crop")[0, 0].tolist() == [[pytest.approx(0.2), pytest.approx(0.3)]] * 2


def test_crop_keeps_the_middle_of_a_tall_picture():
    got = hint.fit_to(ramp(2, 6).transpose(2, 3), (2, 2), "crop")
    assert torch.equal(got, ramp(2, 6)[..., 2:4].transpose(2, 3))


def test_crop_takes_the_left_of_two_middles():
    assert torch.equal(hint.fit_to(ramp(2, 5), (2, 2), "crop"), ramp(2, 5)[..., 1:3])


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("height", [4, 16, 900])
def test_crop_cuts_a_very_long_picture_before_it_is_scaled(height, upright, monkeypatch):
    """Scaled whole it would take gigabytes."""
    long = torch.linspace(0, 1, 40 * height).expand(1, 1, height, -1)
    expected = torch.nn.functional.interpolate(
        long[..., 39 * height // 2 : 41 * height // 2], (64, 64), mode="bilinear", antialias=True
    )
    sizes = []
    resize = hint._resize
    monkeypatch.setattr(hint, "_resize", lambda image, size: sizes.append(size) or resize(image, size))
    got = hint.fit_to(long.transpose(2, 3) if upright else long, (64, 64), "crop")
    got = got.transpose(2, 3) if upright else got
    inside = slice(16, -16)  # at its edges the cut picture has no neighbours
    torch.testing.assert_close(got[..., inside], expected[..., inside], rtol=0, atol=1e-4)
    assert all(max(size) < 64 * 3 for size in sizes)


def test_pad_repeats_the_edges_around_the_whole_picture():
    got = hint.fit_to(ramp(2, 2), (2, 5), "pad")
    assert torch.equal(got[0, 0, 0], torch.tensor([0.0, 0.0, 0.1, 0.1, 0.1]))
    got = hint.fit_to(ramp(2, 2).transpose(2, 3), (5, 2), "pad")
    assert torch.equal(got[0, 0, :, 0], torch.tensor([0.0, 0.0, 0.1, 0.1, 0.1]))


def test_stretch_averages_areas_where_it_shrinks():
    image = torch.tensor([0.0, 0.0, 1.0, 1.0]).view(1, 1, 1, 4).expand(1, 1, 2, 4)
    got = hint.fit_to(image, (2, 2), "stretch")
    # A triangle as wide as the shrinking: (3·a + 3·b + c) / 7.
    assert got[0, 0, 0].tolist() == pytest.approx([1 / 7, 6 / 7])


@pytest.mark.parametrize("fit", hint.FITS)
@pytest.mark.parametrize("source", [(3, 3), (16, 4), (4, 16), (100, 7), (64, 64)])
@pytest.mark.parametrize("size", [(8, 8), (5, 9), (24, 8)])
def test_any_size_becomes_the_size_asked_for_within_the_range(fit, source, size):
    got = hint.prepare_hint(noise(2, 3, *source), size, fit, 3)
    assert got.shape == (2, 3, *size)
    assert 0 <= got.min() <= got.max() <= 1


@pytest.mark.parametrize("fit", hint.FITS)
@pytest.mark.parametrize("source", [(3, 3), (50, 20), (7, 90)])
def test_one_colour_stays_that_colour(fit, source):
    got = hint.prepare_hint(torch.full((1, 3, *source), 0.25), (16, 24), fit, 3)
    assert torch.allclose(got, torch.tensor(0.25), atol=1e-6)


@pytest.mark.parametrize(("colour", "luma"), [((1, 0, 0), 0.299), ((0, 1, 0), 0.587), ((0, 0, 1), 0.114)])
def test_one_channel_is_the_luma_of_bt601(colour, luma):
    image = torch.tensor(colour).float().view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert torch.equal(hint.prepare_hint(image, (4, 4), "crop", 1), torch.full((1, 1, 4, 4), luma))


def test_gray_pixels_of_a_colour_picture_keep_their_exact_value():
    gray = torch.arange(256).float().div(255).view(1, 1, 16, 16)
    image = gray.expand(1, 3, 16, 16).clone()
    image[0, :, 0, 0] = torch.tensor([1.0, 0.0, 0.0])
    got = hint.prepare_hint(image, (16, 16), "crop", 1)
    assert got[0, 0, 0, 0] == pytest.approx(0.299)
    assert torch.equal(got.flatten()[1:], gray.flatten()[1:])


def test_gray_is_repeated_for_three_channels():
    gray = noise(1, 1, 4, 4)
    assert torch.equal(hint.prepare_hint(gray, (4, 4), "crop", 3), gray.expand(1, 3, 4, 4))


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_is_dropped(colours, channels):
    image = noise(2, colours + 1, 4, 4)
    opaque = hint.prepare_hint(image[:, :colours], (6, 8), "crop", channels)
    assert torch.equal(hint.prepare_hint(image, (6, 8), "crop", channels), opaque)


def test_bgr_swaps_red_and_blue_of_three_channels_alone():
    image = noise(1, 3, 4, 4)
    assert torch.equal(hint.prepare_hint(image, (4, 4), "crop", 3, bgr=True), image[:, [2, 1, 0]])
    plain = hint.prepare_hint(image, (4, 4), "crop", 1)
    assert torch.equal(hint.prepare_hint(image, (4, 4), "crop", 1, bgr=True), plain)


def test_what_overshoots_is_clamped():
    image = torch.tensor([-0.2, 0.5, 1.3]).view(1, 1, 1, 3)
    assert hint.prepare_hint(image, (1, 3), "crop", 1).flatten().tolist() == [0.0, 0.5, 1.0]


def test_the_picture_given_is_not_changed():
    image = torch.tensor([-0.2, 0.5, 1.3]).view(1, 1, 1, 3)
    before = image.clone()
    hint.prepare_hint(image, (1, 3), "crop", 3, bgr=True)
    assert torch.equal(image, before)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, 1.5])
def test_pictures_pass_the_check(channels, value):
    hint.check_hint("image", torch.full((2, channels, 3, 3), value))


SHAPES = [(3, 4, 4), (1, 5, 4, 4), (1, 0, 4, 4), (0, 3, 4, 4), (1, 3, 0, 4), (1, 3, 4, 0), (1, 1, 3, 4, 4), ()]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_is_no_picture_is_refused_with_its_shape(shape):
    with pytest.raises(HintError, match=r"image: got a tensor of shape \(") as caught:
        hint.check_hint("image", torch.zeros(shape))
    assert str(caught.value).startswith("The image is empty.") == (0 in shape)


@pytest.mark.parametrize(
    ("value", "words"),
    [(255.0, "to 255"), (-1.0, "from -1"), (math.nan, "NaN"), (math.inf, "to inf"), (-math.inf, "from -inf")],
)
def test_values_of_another_range_are_refused_in_words(value, words):
    image = torch.full((1, 3, 4, 4), 0.5)
    image[0, 1, 2, 3] = value
    with pytest.raises(HintError, match=words):
        hint.check_hint("image", image)


@pytest.mark.parametrize("cell", [8, 16, 64])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (63, 65), (64, 128), (20, 7)])
def test_padding_keeps_every_pixel_in_its_place(cell, size):
    image = noise(2, 3, *size)
    got = hint.pad_to_cells(image, cell)
    assert got.shape[-2:] == tuple(-(-side // cell) * cell for side in size)
    assert torch.equal(got[..., : size[0], : size[1]], image)
    assert torch.equal(got[..., size[0] :, : size[1]], image[..., -1:, :].expand(-1, -1, got.shape[-2] - size[0], -1))
    assert torch.equal(got[..., size[1] :], got[..., size[1] - 1 : size[1]].expand(-1, -1, -1, got.shape[-1] - size[1]))


def test_whole_cells_need_no_padding():
    image = noise(1, 3, 16, 32)
    assert hint.pad_to_cells(image, 8) is image


STRIDES = (8, 16, 32, 64)


@pytest.mark.parametrize("fit", hint.FITS)
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("size", [(64, 64), (264, 328), (8, 8), (72, 1000), (152, 104)])
@pytest.mark.parametrize("source", [(64, 64), (37, 91), (1, 1)])
def test_masks_of_ones_and_zeros_stay_exactly_so(fit, value, size, source):
    levels = hint.mask_levels(torch.full((2, *source), value), size, fit, STRIDES)
    for level, stride in zip(levels, STRIDES, strict=True):
        assert level.shape == (2, 1, *(math.ceil(side / stride) for side in size))
        assert torch.equal(level, torch.full_like(level, value))


def test_half_a_mask_is_averaged_over_the_cells_of_each_level():
    mask = torch.zeros(1, 32, 32)
    mask[..., :12] = 1
    levels = hint.mask_levels(mask, (32, 32), "crop", (8, 16, 32))
    assert [level[0, 0, 0].tolist() for level in levels] == [[1, 0.5, 0, 0], [0.75, 0], [0.375]]


def test_a_mask_is_fitted_as_the_picture_is():
    mask = noise(1, 20, 50)
    (fine,) = hint.mask_levels(mask, (16, 16), "crop", (1,))
    # Masks are also divided by what the resampler makes of ones, which is one but for rounding.
    torch.testing.assert_close(fine[0], hint.prepare_hint(mask[None], (16, 16), "crop", 1)[0], atol=1e-6, rtol=0)
