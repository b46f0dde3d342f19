"""The palette, against OpenCV pixel for pixel, and cells worked out by hand."""

import cv2
import numpy as np
import pytest
import torch
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.palette import SAMPLINGS, palette

from .photographs import NAMES, as_bytes, photograph, pictures


def of_opencv(photo, cell):
    height, width = photo.shape[:2]
    cells = cv2.resize(photo, (width // cell, height // cell), interpolation=cv2.INTER_CUBIC)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)


def whole_cells(photo, cell):
    return np.ascontiguousarray(photo[: photo.shape[0] // cell * cell, : photo.shape[1] // cell * cell])


@pytest.mark.parametrize("cell", [1, 2, 3, 5, 8, 33, 64, 128])
@pytest.mark.parametrize("name", NAMES)
def test_no_pixel_of_a_photograph_differs_from_opencv(name, cell):
    photo = whole_cells(photograph(name), cell)
    assert np.array_equal(as_bytes(palette(pictures(photo), cell))[0], of_opencv(photo, cell))


def test_no_pixel_of_noise_differs_from_opencv_where_it_overshoots():
    noise = np.random.default_rng(1).choice(np.array([0, 255], np.uint8), (640, 896, 3))
    expected = of_opencv(noise, 64)
    assert {0, 255} <= set(expected.flatten().tolist())
    assert np.array_equal(as_bytes(palette(pictures(noise)))[0], expected)


@pytest.mark.parametrize("row", SAMPLINGS, ids=lambda row: row.name)
@pytest.mark.parametrize("cell", [64, 50, 7])
def test_cells_lie_on_the_grid_at_every_size(row, cell):
    result = palette(pictures(photograph("coffee")[:333, :277]), cell, row.name)
    for top in range(0, 333, cell):
        for left in range(0, 277, cell):
            block = result[0, :, top : top + cell, left : left + cell]
            assert (block == block[:, :1, :1]).all()


@pytest.mark.parametrize("row", SAMPLINGS, ids=lambda row: row.name)
def test_what_lies_right_and_below_changes_no_whole_cell(row):
    photo = photograph("coffee")
    whole, part = (
        palette(pictures(photo[:rows, :columns]), 64, row.name) for rows, columns in [(384, 576), (350, 530)]
    )
    assert torch.equal(part[..., :320, :512], whole[..., :320, :512])


def test_a_cell_that_is_cut_off_repeats_the_edge():
    photo = photograph("chelsea")[:100, :150]
    padded = np.pad(photo, ((0, 28), (0, 42), (0, 0)), mode="edge")
    assert np.array_equal(as_bytes(palette(pictures(photo)))[0], of_opencv(padded, 64)[:100, :150])


@pytest.mark.parametrize(("name", "function"), [("area", np.mean), ("median", np.median)])
def test_area_and_median_are_those_of_the_pixels_that_a_cell_has(name, function):
    photo = photograph("rocket")[:99, :77]
    got = as_bytes(palette(pictures(photo), 32, name))[0]
    for top in range(0, 99, 32):
        for left in range(0, 77, 32):
            cell = photo[top : top + 32, left : left + 32].reshape(-1, 3)
            # numpy averages the two medians of an even number; we take the lower one.
            expected = np.sort(cell, axis=0)[(len(cell) - 1) // 2] if name == "median" else function(cell, axis=0)
            assert np.abs(got[top, left] - expected).max() <= (0 if name == "median" else 0.51)


@pytest.mark.parametrize(
    ("cell", "sampling", "words"), [(0, "area", "cell: got 0"), (64, "mean", "got 'mean'; expected one of as trained")]
)
def test_no_such_cells_or_sampling(cell, sampling, words):
    with pytest.raises(AnnotatorError, match=words):
        palette(torch.zeros(1, 3, 8, 8), cell, sampling)
