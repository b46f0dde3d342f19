"""Any JSON as keypoints gives poses that can be drawn, or a clear error."""

from __future__ import annotations

import json
import math
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.keypoints import JOINTS, KEYPOINT_LAYOUTS, read_poses
from t2i_adapter_pack.annotators.pose import draw_poses

from .engine import SHORT

# JSON of Python's own reader, which knows NaN, Infinity and numbers of any length.
numbers = st.one_of(
    st.floats(), st.integers(), st.integers(-4, 2048), st.floats(0, 1, width=32), st.just(10**400), st.booleans()
)
leaves = st.one_of(st.none(), numbers, st.text(max_size=8))
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
)
counts = st.sampled_from([layout.count for layout in KEYPOINT_LAYOUTS])
flat = st.tuples(counts, st.sampled_from((2, 3))).flatmap(
    lambda shape: st.lists(st.one_of(numbers, st.none()), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
)
rows = counts.flatmap(
    lambda count: st.lists(st.one_of(st.none(), st.lists(leaves, max_size=4)), min_size=count, max_size=count)
)
bodies = st.one_of(flat, rows, anything)
people = st.one_of(
    st.lists(st.one_of(st.none(), st.fixed_dictionaries({"pose_keypoints_2d": bodies})), max_size=3), anything
)
frames = st.fixed_dictionaries(
    {"people": people},
    optional={"canvas_width": st.one_of(numbers, anything), "canvas_height": st.one_of(numbers, anything)},
)
keypoints = st.one_of(
    frames, st.lists(frames, max_size=3), st.lists(st.lists(frames, max_size=2), max_size=2), anything
)
sizes = st.tuples(st.integers(-1, 20000), st.integers(-1, 20000))


def read(value: Any, size: tuple[int, int]) -> None:
    try:
        poses = read_poses(value, size)
    except AnnotatorError:
        return
    assert all(isinstance(side, int) and side > 0 for side in poses.size)
    for people_of_frame in poses.frames:
        for person in people_of_frame:
            assert len(person.joints) == JOINTS
            assert all(math.isfinite(value) for point in person.joints if point for value in point)


@SHORT
@given(keypoints, sizes)
def test_any_json_is_read_or_refused(value, size):
    read(value, size)
    read(json.dumps(value), size)


@SHORT
@given(st.text(max_size=64))
def test_any_text_is_read_or_refused(text):
    read(text, (64, 64))


@SHORT
@given(keypoints, st.tuples(st.integers(1, 48), st.integers(1, 48)))
def test_what_is_read_can_be_drawn(value, size):
    try:
        poses = read_poses(value, size)
    except AnnotatorError:
        return
    drawn = draw_poses(poses)
    assert drawn.shape == (len(poses.frames), 3, *size)
    assert torch.isfinite(drawn).all()
    assert 0 <= drawn.min() <= drawn.max() <= 1


def test_lists_deeper_than_python_can_go_are_refused():
    for depth in (900, 100_000):
        read("[" * depth + "]" * depth, (64, 64))
    nested: list[Any] = []
    for _ in range(10_000):
        nested = [nested]
    read(nested, (64, 64))
