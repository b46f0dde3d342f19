"""Canny, against OpenCV pixel for pixel, and its hysteresis against growing by hand."""

import cv2
import numpy as np
import pytest
import torch
from t2i_adapter_pack.annotators.canny import canny, connect
from t2i_adapter_pack.annotators.errors import AnnotatorError
from torch.nn import functional

from .photographs import NAMES, as_bytes, photograph, pictures

# Published settings, swapped, fractional, nothing weak, everything strong, more than gradients reach, below zero.
THRESHOLDS = [
    (100, 200),
    (200, 100),
    (40.7, 110.2),
    (150, 150),
    (0, 0),
    (0, 30),
    (700, 2040),
    (9e4, 5),
    (-3, 50),
    (-1e6, 9),
]


def differing(photo, low, high, l2_gradient):
    expected = cv2.Canny(photo, low, high, L2gradient=l2_gradient)
    got = as_bytes(canny(pictures(photo), low, high, l2_gradient))[0]
    assert (got[..., :1] == got).all()
    return int((got[..., 0] != expected).sum())


@pytest.mark.parametrize("l2_gradient", [False, True], ids=["L1", "L2"])
@pytest.mark.parametrize("name", NAMES)
def test_no_pixel_of_a_photograph_differs_from_opencv(name, l2_gradient):
    assert cv2.Canny(photograph(name), 100, 200).any()
    assert [differing(photograph(name), *pair, l2_gradient) for pair in THRESHOLDS] == [0] * len(THRESHOLDS)


@pytest.mark.parametrize("l2_gradient", [False, True], ids=["L1", "L2"])
def test_no_pixel_differs_on_noise_flat_regions_and_ties(l2_gradient):
    random = np.random.default_rng(1)
    coarse = random.integers(0, 4, (60, 80, 3), dtype=np.uint8)
    blocks = np.kron(coarse, np.ones((4, 4, 1), np.uint8)) * 60
    images = [random.integers(0, 256, (75, 91, 3), dtype=np.uint8), coarse, coarse * 85, blocks]
    for image in images:
        for pair in [(2, 6), (100, 200), *random.uniform(0, 800, (6, 2)).tolist()]:
            assert differing(image, *pair, l2_gradient) == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 5), (70, 1200), (1200, 70), (1025, 64)], ids=str)
def test_no_pixel_differs_at_any_size_nor_where_strips_meet(size):
    image = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert differing(image, 300, 900, False) == 0
    assert differing(image, 300, 900, True) == 0


@pytest.mark.parametrize("name", NAMES)
def test_three_equal_channels_are_the_gray_picture(name):
    gray = cv2.cvtColor(photograph(name), cv2.COLOR_RGB2GRAY)
    got = as_bytes(canny(torch.from_numpy(gray)[None, None].float() / 255))[0, ..., 0]
    assert np.array_equal(got, cv2.Canny(gray, 100, 200))


def test_a_one_pixel_line_becomes_edges_on_both_of_its_sides():
    image = torch.zeros(1, 3, 20, 30)
    image[..., 12] = 1
    assert canny(image)[0, 0, 10].nonzero().flatten().tolist() == [11, 13]


def test_weak_pixels_count_where_they_touch_strong_ones_at_any_distance():
    random = torch.Generator().manual_seed(3)
    weak = torch.rand((60, 80), generator=random) < 0.4
    strong = weak & (torch.rand((60, 80), generator=random) < 0.01)
    grown, before = strong, None
    while before is None or not torch.equal(grown, before):
        before = grown
        grown = weak & functional.max_pool2d(grown[None].float(), 3, 1, 1)[0].bool()
    assert grown.sum() not in (0, weak.sum())
    pixels = weak.flatten().nonzero().squeeze(-1)
    assert torch.equal(connect(pixels, strong.flatten()[pixels], weak.shape), grown)


@pytest.mark.parametrize(("low", "high", "name"), [(float("nan"), 200, "low"), (100, float("inf"), "high")])
def test_thresholds_that_are_no_numbers_are_refused(low, high, name):
    with pytest.raises(AnnotatorError, match=f"Canny, {name} threshold: got (nan|inf)"):
        canny(torch.zeros(1, 3, 4, 4), low, high)
