"""Blurring against OpenCV, thinning against scikit-image's and against what thinning must keep."""

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.morphology import skeletonize
from t2i_adapter_pack.annotators import filters

from .photographs import photograph, pictures


@pytest.mark.parametrize("sigma", [0.5, 1.3, 5.0, 6.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 40), (13, 5), (100, 120)], ids=str)
def test_a_blur_is_opencvs(sigma, size):
    photo = photograph("coffee")[: size[0], : size[1]].astype(np.float32) / 255
    got = filters.blur(torch.from_numpy(photo).movedim(-1, 0)[None], sigma)[0].movedim(0, -1).numpy()
    assert np.abs(got - cv2.GaussianBlur(photo, (0, 0), sigma)).max() < 1e-5


def test_one_colour_stays_that_colour_when_blurred():
    torch.testing.assert_close(filters.blur(torch.full((2, 3, 9, 30), 0.3), 6.0), torch.full((2, 3, 9, 30), 0.3))


def strokes(seed):
    random = np.random.default_rng(seed)
    canvas = np.zeros((90, 120), np.uint8)
    for width in (2, 5, 9, 14):
        start, end = (tuple(int(v) for v in random.integers(10, 80, 2)) for _ in range(2))
        cv2.line(canvas, start, end, 1, width)
    cv2.circle(canvas, (90, 45), 20, 1, 5)
    return torch.from_numpy(canvas).bool()[None, None]


def pieces(lines):
    return [ndimage.label(one[0].numpy(), np.ones((3, 3)))[1] for one in lines]


def holes(lines):
    return [ndimage.label(~one[0].numpy())[1] for one in lines]


@pytest.mark.parametrize("seed", range(4))
def test_thin_lines_keep_pieces_and_holes_and_are_one_pixel_wide(seed):
    lines = strokes(seed)
    thinned = filters.thin(lines)
    assert (lines | thinned).equal(lines)
    assert pieces(thinned) == pieces(lines)
    assert holes(thinned) == holes(lines)
    # Nowhere a block of 3 x 3 is left.
    assert not (torch.nn.functional.avg_pool2d(thinned.float(), 3, 1) > 0.99).any()
    reference = skeletonize(lines[0, 0].numpy())
    near = ndimage.binary_dilation(reference, iterations=2)
    assert near[thinned[0, 0].numpy()].mean() > 0.97


def test_a_line_of_one_pixel_stays_where_it_was():
    lines = torch.zeros(2, 1, 20, 20, dtype=torch.bool)
    lines[0, 0, 7, 3:17] = True
    lines[1, 0, range(4, 16), range(4, 16)] = True
    assert filters.thin(lines).equal(lines)
    assert filters.thicken(lines, 1).equal(lines)


@pytest.mark.parametrize("width", [2, 3, 4, 5, 8])
def test_a_thick_line_has_its_width_around_its_place(width):
    lines = torch.zeros(1, 1, 40, 40, dtype=torch.bool)
    lines[..., 20, 10:30] = True
    rows = filters.thicken(lines, width)[0, 0, :, 20].nonzero().flatten()
    assert len(rows) == width
    assert rows.float().mean() == pytest.approx(20, abs=0.5)


def test_a_batch_is_thinned_one_by_one():
    both = torch.cat([strokes(1), strokes(2)])
    assert filters.thin(both).equal(torch.cat([filters.thin(one[None]) for one in both]))


def test_photographs_can_be_thinned_too():
    lines = pictures(photograph("chelsea"))[:, :1] > 0.5
    assert pieces(filters.thin(lines)) == pieces(lines)
