"""Sketches: polarity, width, and the two photograph modes against OpenCV's arithmetic."""

import cv2
import numpy as np
import pytest
import torch
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.sketch import SKETCH_MODES, clean_sketch

from .photographs import NAMES, photograph, pictures

every_mode = pytest.mark.parametrize("mode", [row.name for row in SKETCH_MODES])


def drawing(line=(0, 0, 0), ground=(255, 255, 255), width=3):
    canvas = np.full((80, 100, 3), ground, np.uint8)
    cv2.line(canvas, (10, 10), (80, 60), line, width)
    cv2.circle(canvas, (60, 30), 15, line, width)
    return pictures(canvas)


def drawn(width=3):
    """Where the drawing has lines."""
    return drawing((1, 1, 1), (0, 0, 0), width)[0, 0] > 0


def overlap(first, second):
    return ((first & second).sum() / (first | second).sum()).item()


@every_mode
@pytest.mark.parametrize("line", [(0, 0, 0), (200, 0, 0), (0, 0, 160)], ids=["black", "red", "blue"])
def test_dark_lines_on_paper_become_white_on_black(mode, line):
    result = clean_sketch(drawing(line, (240, 238, 230)), mode)
    assert overlap(result[0, 0] > 0, drawn()) >= (1 if mode == "threshold" else 0.9)
    assert set(result.unique().tolist()) == {0.0, 1.0}


@every_mode
def test_bright_lines_on_a_board_stay_white(mode):
    result = clean_sketch(drawing((255, 230, 220), (20, 40, 30)), mode)
    assert overlap(result[0, 0] > 0, drawn()) >= (1 if mode == "threshold" else 0.9)


@every_mode
def test_pictures_of_a_batch_have_their_own_ground(mode):
    both = torch.cat([drawing(), drawing((255, 255, 255), (0, 0, 0))])
    result = clean_sketch(both, mode)
    assert torch.equal(result[0], result[1])


@every_mode
def test_invert_decides_what_a_line_is(mode):
    paper, board = drawing(), drawing((255, 255, 255), (0, 0, 0))
    assert torch.equal(clean_sketch(paper, mode, invert="yes"), clean_sketch(paper, mode, invert="auto"))
    assert torch.equal(clean_sketch(board, mode, invert="no"), clean_sketch(board, mode, invert="auto"))
    assert not torch.equal(clean_sketch(paper, mode, invert="no"), clean_sketch(paper, mode))


def test_coloured_lines_on_black_count_in_full():
    result = clean_sketch(drawing((0, 0, 255), (0, 0, 0)))
    assert torch.equal(result[0, 0] > 0, drawn())


@every_mode
def test_soft_lines_are_what_the_threshold_cuts(mode):
    soft = clean_sketch(pictures(photograph("coffee")[:120, :150]), mode, 0)
    assert len(soft.unique()) > 50
    for threshold in (0.2, 0.5, 0.9):
        hard = clean_sketch(pictures(photograph("coffee")[:120, :150]), mode, threshold)
        usual = 0.25 if mode == "line art" else 0.5
        assert torch.equal(hard, (soft >= threshold * usual / 0.5).float())


@pytest.mark.parametrize("width", [1, 2, 4])
def test_lines_get_the_width_asked_for(width):
    canvas = np.full((60, 60, 3), 255, np.uint8)
    canvas[20:27] = 0
    result = clean_sketch(pictures(canvas), line_width=width)
    rows = result[0, 0, :, 30].nonzero().flatten()
    assert len(rows) == width
    assert rows.float().mean() == pytest.approx(23, abs=0.6)


@pytest.mark.parametrize("name", NAMES)
def test_xdog_is_the_published_one_without_its_wrapping_bytes(name):
    photo = photograph(name)[:200, :200].astype(np.float32)
    narrow, wide = (cv2.GaussianBlur(photo, (0, 0), sigma) for sigma in (0.5, 5.0))
    difference = np.min(wide - narrow, axis=2)
    expected = 2 * difference >= 32
    got = clean_sketch(pictures(photo.astype(np.uint8)), "xdog", invert="yes")[0, 0].numpy() > 0
    undecided = np.abs(2 * difference - 32) < 1e-2
    assert np.array_equal(got[~undecided], expected[~undecided])
    assert expected.any()


def test_xdog_keeps_the_boldest_lines():
    """Bytes wrap where twice the difference exceeds 255: there the published one loses a line's middle."""
    canvas = np.full((60, 60, 3), 255, np.uint8)
    canvas[28:31] = 0
    assert (clean_sketch(pictures(canvas), "xdog")[0, 0, 28:31] == 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_line_art_is_the_published_one(name):
    photo = photograph(name)[:200, :200].astype(np.float32)
    difference = np.clip(np.min(cv2.GaussianBlur(photo, (0, 0), 6.0) - photo, axis=2), 0, 255)
    expected = np.clip(difference / max(16, np.median(difference[difference > 8])) * 127, 0, 255) / 255
    got = clean_sketch(pictures(photo.astype(np.uint8)), "line art", 0, invert="yes")[0, 0].numpy()
    assert np.abs(got - expected).max() < 1e-3


@every_mode
def test_an_empty_page_is_black(mode):
    for value in (0.0, 1.0):
        assert not clean_sketch(torch.full((1, 3, 30, 30), value), mode).any()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mode": "magic"}, "mode: got 'magic'; expected one of threshold, line art, xdog"),
        ({"invert": "maybe"}, "invert: got 'maybe'"),
        ({"threshold": 1.5}, "threshold: got 1.5"),
        ({"threshold": float("nan")}, "threshold: got nan"),
        ({"line_width": -1}, "line_width: got -1"),
        ({"line_width": 2, "threshold": 0}, "Soft lines have no width"),
    ],
    ids=str,
)
def test_choices_that_are_none_are_refused(values, words):
    with pytest.raises(AnnotatorError, match=words):
        clean_sketch(torch.zeros(1, 3, 8, 8), **values)
