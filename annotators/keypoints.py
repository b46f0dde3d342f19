"""Read body keypoints from every dialect of POSE_KEYPOINT."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .errors import AnnotatorError
from .keypoint_frames import CHECK_DETECTOR, FARTHEST, KEYPOINTS_WHERE, as_python, canvas_of, frames_of, people_of

# Detectors also give points that they did not find, with a low score.
LEAST_SCORE = 0.3
# Most coordinates above this are pixels; some joints may lie far outside the picture.
GREATEST_FRACTION = 1.5
# This many joints within so few pixels can't be a person in pixels, so the coordinates are fractions. A person with
# fewer joints may stand in the picture's corner, unless the joints lie this many picture sizes away.
ENOUGH_JOINTS = 3
FARTHEST_FRACTION = 10
LARGEST_CANVAS = 16384
# Joints in the order of OpenPose's 18: nose, neck, then shoulder, elbow, wrist of the right and of the left, hip, knee,
# ankle of the right and of the left, eyes and ears, right before left.
_NECK, RIGHT_SHOULDER, LEFT_SHOULDER = 1, 2, 5
JOINTS = 18

Point = tuple[float, float]


@dataclass(frozen=True)
class KeypointLayout:
    """How a file orders the joints.

    Attributes:
        name: The layout's name, for messages.
        count: How many points a person has.
        places: For each of the 18 joints its place in the file; None for a neck between the shoulders.
    """

    name: str
    count: int
    places: tuple[int | None, ...]


COCO_PLACES = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
OPENPOSE_PLACES = tuple(range(JOINTS))
KEYPOINT_LAYOUTS = (
    KeypointLayout("COCO-17", 17, COCO_PLACES),
    KeypointLayout("OpenPose-18", 18, OPENPOSE_PLACES),
    KeypointLayout("BODY_25", 25, (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)),
    # Feet, then face and hands, behind the body in one list.
    KeypointLayout("COCO-17 and feet", 23, COCO_PLACES),
    KeypointLayout("OpenPose-18 and feet", 24, OPENPOSE_PLACES),
    KeypointLayout("COCO-WholeBody", 133, COCO_PLACES),
    KeypointLayout("OpenPose-18, feet, face and hands", 134, OPENPOSE_PLACES),
    KeypointLayout("OpenPose-18, feet, face of 70 and hands", 136, OPENPOSE_PLACES),
)


@dataclass(frozen=True)
class Person:
    """A body.

    Attributes:
        joints: The 18 joints as x and y in pixels, None where not seen.
    """

    joints: tuple[Point | None, ...]


@dataclass(frozen=True)
class Poses:
    """The people of some pictures of one size.

    Attributes:
        size: Height and width in pixels.
        frames: The people of each picture.
    """

    size: tuple[int, int]
    frames: tuple[tuple[Person, ...], ...]


def read_poses(keypoints: Any, size: tuple[int, int] = (0, 0)) -> Poses:
    """Read keypoints.

    Accepted are OpenPose's dicts with ``people`` of ``pose_keypoints_2d``, one or a list of them, nested or as JSON;
    numbers and lists of Python, numpy or torch; coordinates in pixels of ``canvas_width`` x ``canvas_height`` or from
    0 to 1, each person's for itself; scores or none; parts, people and frames that are null; joints not seen at 0 or
    -1. Hands, face and feet are ignored, in lists of their own as behind the body in one.

    Args:
        keypoints: See above.
        size: Height and width of the picture in pixels, to which the canvas is stretched; 0 for those of the canvas.

    Returns:
        The people, in pixels.

    Raises:
        AnnotatorError: The value is something else, or the picture's size is unknown.
    """
    frames = frames_of(keypoints)
    if not frames:
        raise AnnotatorError(
            KEYPOINTS_WHERE,
            "an empty list",
            "one frame per picture",
            CHECK_DETECTOR,
            says="There are no frames in the keypoints.",
            topic="keypoints",
        )
    people = [[_points(person, canvas_of(frame)) for person in people_of(frame)] for frame in frames]
    # Decided for all together if a body's own joints do not tell: one body may be near the corner.
    together = _middle(joint for bodies in people for body in bodies for joint in body) <= GREATEST_FRACTION
    height, width = _size_of(frames, size)
    scaled = []
    for frame, bodies in zip(frames, people, strict=True):
        canvas = canvas_of(frame) or (height, width)
        scales = {True: (width, height), False: (width / canvas[1], height / canvas[0])}
        found = (body for body in bodies if any(body))
        scaled.append(tuple(_scaled(body, scales[_in_fractions(body, together)]) for body in found))
    return Poses((height, width), tuple(scaled))


def _size_of(frames: Iterable[Mapping[str, Any]], size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the pictures: the given ones, or those of the first canvas."""
    own = next((canvas for canvas in map(canvas_of, frames) if canvas is not None), (0, 0))
    height, width = (given or named for given, named in zip(size, own, strict=True))
    if not (0 < height <= LARGEST_CANVAS and 0 < width <= LARGEST_CANVAS):
        size_found = f"a picture of {width}x{height}" if height or width else "no size of the picture"
        expected = f"canvas_width and canvas_height in the keypoints, up to {LARGEST_CANVAS}"
        raise AnnotatorError(
            KEYPOINTS_WHERE,
            size_found,
            expected,
            "Set width and height.",
            says="The size of the picture is unknown or too large.",
        )
    return height, width


def _middle(joints: Iterable[Point | None]) -> float:
    """Return the median magnitude of coordinates; infinite without any."""
    found = [abs(value) for joint in joints for value in joint or ()]
    return median(found) if found else math.inf


def _in_fractions(body: Sequence[Point | None], together: bool) -> bool:
    """Return whether a body's joints are fractions of the picture; ``together`` decides if the body does not tell."""
    middle = _middle(body)
    clear = sum(joint is not None for joint in body) >= ENOUGH_JOINTS or middle > FARTHEST_FRACTION
    return middle <= GREATEST_FRACTION if clear else together


def _points(body: Any, canvas: tuple[int, int] | None) -> list[Point | None]:
    """Return the 18 joints of a body as they are written, on a canvas of this height and width."""
    if not isinstance(body, Sequence) or isinstance(body, str):
        raise AnnotatorError(
            KEYPOINTS_WHERE,
            f"a body of type {type(body).__name__}",
            "a list of numbers",
            CHECK_DETECTOR,
            says="A person's joints are not a list of numbers.",
            topic="keypoints",
        )
    rows = [list(row) if isinstance(row, Sequence) else row for row in map(as_python, body)]
    counts = {layout.count: layout for layout in KEYPOINT_LAYOUTS}
    if len(rows) in counts and all(row is None or isinstance(row, list) for row in rows):
        layout = counts[len(rows)]
    else:
        layout, rows = _split(rows)
    points = [_point(row, canvas) for row in rows]
    joints = [None if place is None else points[place] for place in layout.places]
    right, left = joints[RIGHT_SHOULDER], joints[LEFT_SHOULDER]
    if layout.places[_NECK] is None and right and left:
        joints[_NECK] = ((right[0] + left[0]) / 2, (right[1] + left[1]) / 2)
    return joints


def _split(values: list[Any]) -> tuple[KeypointLayout, list[Any]]:
    """Cut a flat list into points of three numbers, or of two if scores are missing."""
    for size in (3, 2):
        for layout in KEYPOINT_LAYOUTS:
            if len(values) == layout.count * size:
                return layout, [values[start : start + size] for start in range(0, len(values), size)]
    known = ", ".join(f"{3 * layout.count} ({layout.name})" for layout in KEYPOINT_LAYOUTS)
    expected = f"{known}: x, y and score of each point"
    raise AnnotatorError(
        KEYPOINTS_WHERE,
        f"a body of {len(values)} numbers",
        expected,
        CHECK_DETECTOR,
        says="A person has an unknown number of joints.",
        topic="keypoints",
    )


def _point(row: Any, canvas: tuple[int, int] | None) -> Point | None:
    """Return a point, or None where it was not seen."""
    values = [as_python(value) for value in row or ()]
    if len(values) < 2 or any(value is None for value in values):
        return None
    if not all(isinstance(value, int | float) for value in values):
        raise AnnotatorError(
            KEYPOINTS_WHERE,
            f"a point {values}",
            "numbers: x, y and score",
            CHECK_DETECTOR,
            says="A joint is not made of numbers.",
            topic="keypoints",
        )
    x, y, score = (*values, 1.0)[:3]
    # Compared before anything is computed: a whole number may be too large for a float.
    if not (abs(x) <= FARTHEST and abs(y) <= FARTHEST) or not score >= LEAST_SCORE:
        return None
    point = float(x), float(y)
    return None if point in _unseen(canvas) else point


def _unseen(canvas: tuple[int, int] | None) -> tuple[Point, ...]:
    """Return where detectors put what they have not seen: the corner, or minus one, of a pixel or of the canvas."""
    height, width = canvas or (1, 1)
    return (0.0, 0.0), (-1.0, -1.0), (-float(width), -float(height))


def _scaled(body: Sequence[Point | None], scale: Point) -> Person:
    return Person(tuple(None if joint is None else (joint[0] * scale[0], joint[1] * scale[1]) for joint in body))
