"""What all annotators share: the check of their input, bytes, and detection at another resolution."""

import math

import pytest
import torch
from t2i_adapter_pack.annotators import images
from t2i_adapter_pack.annotators.errors import AnnotatorError


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("channels", [1, 2])
def test_gray_is_repeated_and_its_alpha_dropped(channels):
    picture = noise(2, channels, 3, 5)
    assert torch.equal(images.check_images("x", picture), picture[:, :1].expand(-1, 3, -1, -1))


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_stay_and_their_alpha_is_dropped(channels):
    picture = noise(2, channels, 3, 5)
    assert torch.equal(images.check_images("x", picture), picture[:, :3])


def test_what_overshoots_is_clamped_and_the_input_left_alone():
    picture = torch.tensor([-0.2, 0.5, 1.3]).view(1, 1, 1, 3)
    before = picture.clone()
    assert images.check_images("x", picture)[0, 2, 0].tolist() == [0.0, 0.5, 1.0]
    assert torch.equal(picture, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_becomes_float32(dtype):
    assert images.check_images("x", noise(1, 3, 2, 2).to(dtype)).dtype == torch.float32


SHAPES = [(3, 4, 4), (1, 5, 4, 4), (1, 0, 4, 4), (0, 3, 4, 4), (1, 3, 0, 4), (1, 3, 4, 0), (1, 1, 3, 4, 4), ()]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_is_no_picture_is_refused_with_its_shape(shape):
    with pytest.raises(AnnotatorError, match=r"(?m)^x: got a tensor of shape \(.*; expected pictures"):
        images.check_images("x", torch.zeros(shape))


@pytest.mark.parametrize(
    ("value", "words"),
    [(255.0, "to 255"), (-1.0, "from -1"), (math.nan, "NaN"), (math.inf, "to inf"), (-math.inf, "from -inf")],
)
def test_values_of_another_range_are_refused_in_words(value, words):
    picture = torch.full((1, 3, 4, 4), 0.5)
    picture[0, 1, 2, 3] = value
    with pytest.raises(AnnotatorError, match=words):
        images.check_images("x", picture)


def test_bytes_are_refused_with_the_fix():
    with pytest.raises(AnnotatorError, match=r"torch.uint8.*Divide bytes by 255"):
        images.check_images("x", torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_every_byte_survives_the_way_to_values_and_back(dtype):
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(images.to_bytes(images.from_bytes(every, torch.zeros(1, dtype=dtype))), every)


def line(height, width, column):
    picture = torch.zeros(1, 3, height, width)
    picture[..., column] = 1
    return picture


@pytest.mark.parametrize("resolution", [0, 32, 64, 100, 128, 200])
@pytest.mark.parametrize("column", [4, 20, 37, 59])
def test_a_line_stays_where_it_was(resolution, column):
    back = images.at_resolution(line(64, 96, column), resolution, lambda picture: picture)
    assert back.shape == (1, 3, 64, 96)
    centre = (back[0, 0, 30] * torch.arange(96)).sum() / back[0, 0, 30].sum()
    assert centre == pytest.approx(column, abs=0.35)


def test_its_own_size_is_no_resizing_bit_for_bit():
    picture = noise(1, 3, 40, 64)
    for resolution in (0, 40):
        assert images.at_resolution(picture, resolution, lambda small: small) is picture


@pytest.mark.parametrize(("size", "small"), [((64, 96), (16, 24)), ((96, 64), (24, 16)), ((1, 7), (16, 112))])
def test_the_resolution_is_the_short_side(size, small):
    seen = []
    images.at_resolution(noise(1, 3, *size), 16, lambda picture: seen.append(picture.shape) or picture)
    assert seen == [(1, 3, *small)]


def test_nearest_makes_no_new_values():
    def halves(picture):
        return (torch.arange(picture.shape[-1]) % 2).float().expand(1, 3, picture.shape[-2], -1)

    back = images.at_resolution(noise(1, 3, 50, 70), 20, halves, "nearest")
    assert set(back.unique().tolist()) == {0.0, 1.0}


def test_a_negative_resolution_is_refused():
    with pytest.raises(AnnotatorError, match="resolution: got -1"):
        images.at_resolution(noise(1, 3, 4, 4), -1, lambda picture: picture)
