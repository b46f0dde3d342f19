"""Keypoints: every dialect of the same two people gives the same joints."""

import copy
import json

import numpy as np
import pytest
import torch
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.keypoints import KEYPOINT_LAYOUTS, read_poses

# 18 joints of a person in pixels of 200 x 100, each somewhere else.
JOINTS = [(10.0 + 7 * number, 90.0 - 4 * number) for number in range(18)]
# The neck of COCO-17 is between the shoulders, so here it is everywhere.
JOINTS[1] = tuple((a + b) / 2 for a, b in zip(JOINTS[2], JOINTS[5], strict=True))
ELSEWHERE = (191.0, 97.0)
OTHER = [(x / 2, y / 2) for x, y in JOINTS]


def flat(points, score=1.0):
    return [value for point in points for value in (*point, score)]


def frame(*bodies, **changes):
    return {
        "canvas_width": 200,
        "canvas_height": 100,
        "people": [{"pose_keypoints_2d": body, "hand_left_keypoints_2d": None, "face_keypoints_2d": [1, 2, 3]}
                   for body in bodies],
        **changes,
    }  # fmt: skip


def body_25(points):
    """The 18 joints with a hip in the middle and six points of the feet."""
    return [*points[:8], (1.0, 2.0), *points[8:], *[(3.0, 4.0)] * 6]


def coco(points):
    """The 17 joints of COCO."""
    return [points[place] for place in COCO_PLACES]


def behind(points, count):
    """Points of feet, face and hands behind the body, in one list."""
    return flat([*points, *[ELSEWHERE] * count])


def parts(body):
    """One person as newer detectors write it: feet, a face of 68 points and the eyes again, and hands."""
    lists = {"foot": 6, "face": 70, "hand_left": 21, "hand_right": 21}
    return {
        "pose_keypoints_2d": flat(body),
        **{f"{name}_keypoints_2d": flat([ELSEWHERE] * count) for name, count in lists.items()},
    }


COCO_PLACES = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]
PIXELS = frame(flat(JOINTS), flat(OTHER))
HALF = [(x / 200, y / 100) for x, y in JOINTS], [(x / 200, y / 100) for x, y in OTHER]
DIALECTS = {
    "a list of frames": [PIXELS],
    "one frame": PIXELS,
    "lists in lists": [[PIXELS]],
    "a tuple": (PIXELS,),
    "JSON": json.dumps([PIXELS]),
    "fractions": [frame(flat(HALF[0]), flat(HALF[1]))],
    "COCO-17": [frame(*(flat(coco(body)) for body in (JOINTS, OTHER)))],
    "feet, a face of 70 and hands apart": [frame(people=[parts(JOINTS), parts(OTHER)])],
    "a face of 68": [frame(people=[{**parts(body), "face_keypoints_2d": [0.5] * 204} for body in (JOINTS, OTHER)])],
    "feet behind 17": [frame(*(behind(coco(body), 6) for body in (JOINTS, OTHER)))],
    "feet behind 18": [frame(*(behind(body, 6) for body in (JOINTS, OTHER)))],
    "whole bodies of 133": [frame(*(behind(coco(body), 116) for body in (JOINTS, OTHER)))],
    "whole bodies of 134": [frame(*(behind(body, 116) for body in (JOINTS, OTHER)))],
    "whole bodies of 136": [frame(*(behind(body, 118) for body in (JOINTS, OTHER)))],
    "BODY_25": [frame(*(flat(body_25(body)) for body in (JOINTS, OTHER)))],
    "no scores": [frame(*([value for point in body for value in point] for body in (JOINTS, OTHER)))],
    "points in lists": [frame(*([[*point, 0.9] for point in body] for body in (JOINTS, OTHER)))],
    "null people between": [frame(flat(JOINTS), None, [], flat(OTHER))],
    "whole people null": [{**PIXELS, "people": [PIXELS["people"][0], None, PIXELS["people"][1]]}],
    "floating point sizes": [frame(flat(JOINTS), flat(OTHER), canvas_width=200.0, canvas_height=100.0)],
    "numpy": [frame(np.array(flat(JOINTS)), np.array(flat(OTHER)))],
    "numpy, in full precision": [frame(np.array(flat(JOINTS), np.float32), np.array(flat(OTHER), np.float32))],
    "numpy's numbers": [frame(list(np.float32(flat(JOINTS))), list(np.float64(flat(OTHER))))],
    "numpy's points": [frame(np.array(flat(JOINTS)).reshape(18, 3), list(np.array(flat(OTHER)).reshape(18, 3)))],
    "numpy's sizes": [frame(flat(JOINTS), flat(OTHER), canvas_width=np.int64(200), canvas_height=np.float32(100))],
    "numpy's frames": np.array([PIXELS], dtype=object),
    "numpy's people": [{**PIXELS, "people": np.array(PIXELS["people"], dtype=object)}],
    "torch": [frame(torch.tensor(flat(JOINTS)), torch.tensor(flat(OTHER)).reshape(18, 3))],
    "torch's numbers": [frame(list(torch.tensor(flat(JOINTS))), [torch.tensor(v) for v in flat(OTHER)])],
    "torch's sizes": [
        frame(flat(JOINTS), flat(OTHER), canvas_width=torch.tensor(200), canvas_height=torch.tensor(100))
    ],
    "one person in fractions": [frame(flat(HALF[0]), flat(OTHER))],
    "the other one in fractions": [frame(flat(JOINTS), np.array(flat(HALF[1]), np.float32))],
    "integers": [frame([1 * v if i % 3 == 2 else v for i, v in enumerate(flat(JOINTS, 2))], flat(OTHER, 1))],
}


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_every_dialect_gives_the_same_people(dialect):
    before = copy.deepcopy(dialect)
    poses = read_poses(dialect)
    assert repr(dialect) == repr(before)
    assert poses.size == (100, 200)
    assert len(poses.frames) == 1
    for person, body in zip(poses.frames[0], (JOINTS, OTHER), strict=True):
        assert [pytest.approx(point) for point in body] == list(person.joints)
        assert {type(value) for point in person.joints for value in point} == {float}


@pytest.mark.parametrize("row", KEYPOINT_LAYOUTS, ids=lambda row: row.name)
def test_a_layout_names_eighteen_different_places(row):
    places = [place for place in row.places if place is not None]
    assert len(row.places) == 18
    assert len(set(places)) == len(places) >= 17
    assert max(places) < row.count


@pytest.mark.parametrize("alone", [(1.0, 1.4), (0.0, 0.9)], ids=str)
def test_a_joint_or_two_are_what_the_others_are(alone):
    few = flat([alone, *[(0.0, 0.0)] * 17])
    assert read_poses([frame(few, flat(JOINTS))]).frames[0][0].joints[0] == alone
    inside = pytest.approx((200 * alone[0], 100 * alone[1]))
    assert read_poses([frame(few, flat(HALF[0]))]).frames[0][0].joints[0] == inside
    far = flat([(150.0, 90.0), *[(0.0, 0.0)] * 17])
    assert read_poses([frame(far, flat(HALF[0]), flat(HALF[1]))]).frames[0][0].joints[0] == (150.0, 90.0)


@pytest.mark.parametrize("points", [JOINTS, HALF[0]], ids=["pixels", "fractions"])
@pytest.mark.parametrize("unseen", [(-1.0, -1.0), (-200.0, -100.0), (0.0, 0.0), (-1, -1)], ids=str)
def test_joints_at_the_places_of_what_is_not_seen_are_not_drawn(points, unseen):
    if points is not JOINTS and unseen == (-200.0, -100.0):
        unseen = (-1.0, -1.0)
    joints = read_poses([frame(flat([unseen, *points[1:14], *[unseen] * 4]))]).frames[0][0].joints
    assert [number for number, joint in enumerate(joints) if joint is None] == [0, 14, 15, 16, 17]
    assert joints[1:14] == tuple(pytest.approx(joint) for joint in JOINTS[1:14])


def test_mostly_unseen_joints_of_a_person_in_fractions_leave_it_in_fractions():
    body = [(-1.0, -1.0)] * 14 + HALF[0][14:]
    joints = read_poses([frame(flat(body), flat(JOINTS))]).frames[0][0].joints
    assert joints[14:] == tuple(pytest.approx(joint) for joint in JOINTS[14:])


@pytest.mark.parametrize("missing", [(0.0, 0.0, 0.0), (None, None, None), (5.0, 6.0, 0.0), (5.0, 6.0, 0.1),
                                     (float("nan"), 6.0, 1.0), (0, 0, 1.0)], ids=str)  # fmt: skip
def test_a_joint_that_was_not_seen_is_none(missing):
    body = flat(JOINTS)
    body[3 * 4 : 3 * 5] = missing
    joints = read_poses([frame(body)]).frames[0][0].joints
    assert [joint is None for joint in joints] == [number == 4 for number in range(18)]


def test_without_a_shoulder_coco_has_no_neck():
    points = [JOINTS[place] for place in COCO_PLACES]
    points[5] = (0.0, 0.0)
    joints = read_poses([frame(flat(points))]).frames[0][0].joints
    assert [number for number, joint in enumerate(joints) if joint is None] == [1, 5]


EMPTY = {"nobody": frame(), "null": None, "null people": {**frame(), "people": None}, "unseen": frame([0.0] * 54)}


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
def test_a_picture_without_people_stays_in_its_place(empty):
    assert [len(people) for people in read_poses([PIXELS, empty, PIXELS]).frames] == [2, 0, 2]


def test_a_size_stretches_the_canvas():
    poses = read_poses([PIXELS], (400, 100))
    assert poses.size == (400, 100)
    assert list(poses.frames[0][0].joints) == [pytest.approx((x / 2, y * 4)) for x, y in JOINTS]


def test_frames_of_another_canvas_are_stretched_to_the_first_one():
    double = frame(flat([(2 * x, 2 * y) for x, y in JOINTS]), canvas_width=400, canvas_height=200)
    first, second = read_poses([PIXELS, double]).frames
    assert list(second[0].joints) == [pytest.approx(point) for point in first[0].joints]


def test_fractions_may_reach_out_of_the_picture():
    body = flat([(3.5, -0.3), *HALF[0][1:]])
    assert read_poses([frame(body)]).frames[0][0].joints[0] == pytest.approx((700, -30))


def test_pixels_near_the_corner_are_no_fractions():
    body = flat([(1.0, 2.0), (2.0, 1.0), *JOINTS[2:]])
    assert read_poses([frame(body)]).frames[0][0].joints[0] == (1.0, 2.0)


def test_a_canvas_too_large_to_draw_is_refused():
    with pytest.raises(AnnotatorError, match=r"a picture of 1000000x100; expected .* up to 16384"):
        read_poses([frame(flat(JOINTS), canvas_width=1e6)])


def test_without_a_canvas_the_size_given_is_the_canvas():
    bare = {"people": PIXELS["people"]}
    assert read_poses(bare, (100, 200)).frames[0][0].joints[0] == pytest.approx(JOINTS[0])
    with pytest.raises(AnnotatorError, match=r"no size of the picture.*Set width and height"):
        read_poses(bare)


@pytest.mark.parametrize(
    ("keypoints", "words"),
    [
        ([], "an empty list"),
        (5, "got a int"),
        (np.zeros((2, 18, 3)), "got a ndarray; expected frames with 'people'"),
        (torch.zeros(18, 3), "got a Tensor; expected frames with 'people'"),
        ([frame(np.zeros(63))], "a body of 63 numbers"),
        ("{", "text that is not JSON"),
        ([{"animals": [], "version": "ap10k"}], "'animals', 'version'; expected a frame with 'people'"),
        ([frame([1.0] * 63)], "a body of 63 numbers"),
        ([frame("abc")], "a body of type str"),
        ([frame(["a"] * 54)], r"a point \[\['a'"),
        ([{"people": 3}], "people of type int"),
        ([{"people": [3]}], "a list of dicts"),
    ],
    ids=[
        "empty",
        "number",
        "array",
        "tensor",
        "63 in an array",
        "text",
        "animals",
        "63 numbers",
        "string",
        "strings",
        "no people",
        "no dicts",
    ],
)
def test_what_is_no_pose_is_refused_in_words(keypoints, words):
    with pytest.raises(AnnotatorError, match=words):
        read_poses(keypoints, (8, 8))
