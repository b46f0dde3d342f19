"""Poses: shapes against OpenCV's, colours and order against what the adapters were trained with."""

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from t2i_adapter_pack.annotators import pose
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.keypoints import Person, Poses

from .photographs import as_bytes

# A standing person of 18 joints in a picture of 256 x 192.
BODY = [(96, 30), (96, 60), (70, 62), (52, 100), (44, 140), (122, 58), (140, 98), (150, 138), (80, 130), (76, 180),
        (72, 230), (112, 130), (118, 180), (124, 230), (90, 24), (102, 24), (82, 28), (110, 28)]  # fmt: skip
SIZE = (256, 192)


def only(*joints, body=BODY):
    return Person(tuple(body[joint] if joint in joints else None for joint in range(18)))


def drawn(*people, style="openpose", **values):
    return as_bytes(pose.draw_poses(Poses(SIZE, (people,)), style, **values))[0]


def overlap(first, second):
    return (first & second).sum() / (first | second).sum()


def limb_of_opencv(start, end, half_width):
    """An ellipse as the openpose adapters saw it: whole pixels, whole degrees, a filled polygon."""
    canvas = np.zeros(SIZE, np.uint8)
    middle = (int((start[0] + end[0]) / 2), int((start[1] + end[1]) / 2))
    angle = math.degrees(math.atan2(start[1] - end[1], start[0] - end[0]))
    axes = (int(math.dist(start, end) / 2), half_width)
    cv2.fillConvexPoly(canvas, cv2.ellipse2Poly(middle, axes, int(angle), 0, 360, 1), 1)
    return canvas > 0


@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("limb", pose.OPENPOSE_LIMBS[:13], ids=str)
def test_a_limb_is_opencvs_ellipse(limb, width):
    canvas = torch.zeros(3, *SIZE, dtype=torch.uint8)
    ends = tuple(BODY[joint] for joint in limb)
    pose._paint(canvas, ends, width, (9, 9, 9), pose._inside_ellipse)
    assert overlap(canvas[0].numpy() > 0, limb_of_opencv(*ends, width)) >= 0.9


@pytest.mark.parametrize("radius", [2, 4, 5, 8])
def test_a_disc_is_opencvs_circle_also_over_the_border(radius):
    for point in [(96, 60), (1, 2), (191, 255), (-2, 100)]:
        expected = cv2.circle(np.zeros(SIZE, np.uint8), point, radius, 1, -1) > 0
        got = drawn(only(0, body=[point]), stick_width=radius)
        assert np.array_equal(got[..., 0] > 0, expected)


@pytest.mark.parametrize("limb", pose.COCO_LIMBS[:12], ids=lambda limb: str(limb[:2]))
def test_a_line_of_keypose_is_opencvs(limb):
    canvas = torch.zeros(3, *SIZE, dtype=torch.uint8)
    start, end = (BODY[joint] for joint in limb[:2])
    pose._paint(canvas, (start, end), 2, (9, 9, 9), pose._inside_line)
    assert overlap(canvas[0].numpy() > 0, cv2.line(np.zeros(SIZE, np.uint8), start, end, 1, 2) > 0) >= 0.8


def test_openpose_limbs_have_sixty_percent_and_joints_all_of_their_colour():
    image = drawn(Person(tuple(BODY)))
    assert image[30, 96].tolist() == [255, 0, 0]
    assert image[60, 96].tolist() == [255, 85, 0]
    assert image[60, 83].tolist() == [153, 0, 0]  # neck to right shoulder
    assert image[45, 96].tolist() == [0, 0, 153]  # neck to nose
    assert image[230, 124].tolist() == [85, 0, 255]
    assert image[0, 0].tolist() == [0, 0, 0]


def test_joints_lie_on_the_limbs_of_everybody():
    first, second = only(1, 2), only(1, 5, body=[(x - 30, y) for x, y in BODY])
    one_by_one = drawn(first), drawn(second)
    together = drawn(first, second)
    full = [(image == 255).any(-1) for image in one_by_one]
    hidden = full[0] & full[1]
    assert 0 < hidden.sum() < full[0].sum()
    assert np.array_equal(together[full[0] & ~hidden], one_by_one[0][full[0] & ~hidden])
    assert np.array_equal(together[full[1]], one_by_one[1][full[1]])


def test_bgr_swaps_red_and_blue():
    body = Person(tuple(BODY))
    assert np.array_equal(drawn(body, style="openpose bgr"), drawn(body)[..., ::-1])


def test_keypose_has_its_colours_and_lines_on_discs():
    image = drawn(Person(tuple(BODY)), style="keypose")
    assert {tuple(colour) for colour in image.reshape(-1, 3).tolist()} == {
        (0, 0, 0), (255, 153, 51), (0, 255, 0), (0, 128, 255)
    }  # fmt: skip
    assert image[118, 48].tolist() == [0, 128, 255]  # right lower arm
    assert image[118, 145].tolist() == [0, 255, 0]
    assert image[58, 120].tolist() == [255, 153, 51]  # the line between the shoulders, on the disc of the left one
    assert image[60, 123].tolist() == [0, 255, 0]


def test_keypose_knows_no_neck():
    assert not drawn(only(1), style="keypose").any()
    assert drawn(only(1)).any()


def test_a_limb_needs_both_of_its_ends():
    assert (drawn(only(2, 3)) > 0).sum() > (drawn(only(2)) > 0).sum() + (drawn(only(3)) > 0).sum()
    assert not (drawn(only(2, 4)) == 153).any()


@pytest.mark.parametrize(("style", "most", "shown"), [("openpose", 0, 3), ("openpose", 2, 2), ("keypose", 0, 2),
                                                      ("keypose", 1, 1), ("keypose", 3, 3)])  # fmt: skip
def test_as_many_people_as_trained_or_asked_for(style, most, shown):
    people = [only(0, body=[(20 + 40 * number, 50)]) for number in range(3)]
    image = drawn(*people, style=style, max_people=most)
    assert [bool(image[50, 20 + 40 * number].any()) for number in range(3)] == [number < shown for number in range(3)]


def test_a_wider_stick_covers_the_narrower_one():
    body = Person(tuple(BODY))
    areas = [(drawn(body, stick_width=width) > 0).any(-1) for width in (1, 2, 4, 8)]
    assert all((wide | narrow).sum() == wide.sum() > narrow.sum() for narrow, wide in pairwise(areas))


def test_frames_are_independent_and_may_be_empty():
    frames = ((Person(tuple(BODY)),), (), (only(0, 1),))
    images = pose.draw_poses(Poses(SIZE, frames))
    assert images.shape == (3, 3, *SIZE)
    assert torch.equal(images[1], torch.zeros(3, *SIZE))
    assert torch.equal(images[2:], pose.draw_poses(Poses(SIZE, frames[2:])))


@pytest.mark.parametrize("far", [(-500, 40), (1e7, 1e7), (96, -30)])
@pytest.mark.parametrize("style", [row.name for row in pose.POSE_STYLES])
def test_bodies_may_reach_out_of_the_picture(far, style):
    image = drawn(Person((far, *BODY[1:])), style=style)
    assert image.any()


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (64, 64)], ids=str)
def test_any_size(size):
    assert pose.draw_poses(Poses(size, ((Person(tuple(BODY)),),))).shape == (1, 3, *size)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"style": "dance"}, "got 'dance'; expected one of openpose, openpose bgr, keypose"),
        ({"stick_width": 0}, "stick_width 0"),
        ({"max_people": -1}, "max_people -1"),
    ],
)
def test_what_can_not_be_drawn_is_refused(values, words):
    with pytest.raises(AnnotatorError, match=words):
        pose.draw_poses(Poses(SIZE, ((),)), **values)
