"""Body keypoints, read from every dialect of POSE_KEYPOINT."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .errors import AnnotatorError

WHERE = "Pose keypoints"
DETECTOR = "Check the node that detects the pose."
# Detectors also give points that they have not found, with a low score.
LEAST_SCORE = 0.3
# Where most coordinates are greater they are pixels; some joints may lie far out of the picture.
GREATEST_FRACTION = 1.5
LARGEST_SIDE = 16384
# Beyond, in pixels, nothing was seen: it is a fault of the detector, and no number to compute with.
FARTHEST = 1_000_000
# Frames of a list of lists of frames, and room to spare.
DEEPEST = 16
# Joints in the order of OpenPose's 18: nose, neck, then shoulder, elbow, wrist of the right and of the left, hip, knee,
# ankle of the right and of the left, eyes and ears, right before left.
NECK, RIGHT_SHOULDER, LEFT_SHOULDER = 1, 2, 5
JOINTS = 18

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """How a file orders the joints.

    Attributes:
        name: The layout's name, for messages.
        count: How many points a person has.
        places: For each of the 18 joints its place in the file; None for a neck between the shoulders.
    """

    name: str
    count: int
    places: tuple[int | None, ...]


LAYOUTS = (
    Layout("COCO-17", 17, (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)),
    Layout("OpenPose-18", 18, tuple(range(18))),
    Layout("BODY_25", 25, (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)),
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
    coordinates in pixels of ``canvas_width`` x ``canvas_height`` or from 0 to 1; scores or none; parts, people and
    frames that are null. Hands, face and feet are ignored.

    Args:
        keypoints: See above.
        size: Height and width of the picture in pixels, to which the canvas is stretched; 0 for those of the canvas.

    Returns:
        The people, in pixels.

    Raises:
        AnnotatorError: This is something else, or the picture's size is known from nowhere.
    """
    frames = list(_frames(_parsed(keypoints)))
    if not frames:
        raise AnnotatorError(WHERE, "an empty list", "one frame per picture", DETECTOR)
    people = [[_points(person) for person in _people(frame)] for frame in frames]
    found = [abs(value) for bodies in people for body in bodies for point in body for value in point or ()]
    # Decided for all frames together: a frame alone may show a single joint near the corner.
    fractions = bool(found) and median(found) <= GREATEST_FRACTION
    own = next((canvas for canvas in map(_canvas, frames) if canvas is not None), (0, 0))
    height, width = (given or named for given, named in zip(size, own, strict=True))
    if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
        size_found = f"a picture of {width}x{height}" if height or width else "no size of the picture"
        expected = f"canvas_width and canvas_height in the keypoints, up to {LARGEST_SIDE}"
        raise AnnotatorError(WHERE, size_found, expected, "Set width and height.")
    scaled = []
    for frame, bodies in zip(frames, people, strict=True):
        canvas = (1, 1) if fractions else _canvas(frame) or (height, width)
        scale = (width / canvas[1], height / canvas[0])
        scaled.append(tuple(Person(tuple(_scaled(point, scale) for point in body)) for body in bodies if any(body)))
    return Poses((height, width), tuple(scaled))


def _parsed(keypoints: Any) -> Any:
    if not isinstance(keypoints, str):
        return keypoints
    try:
        return json.loads(keypoints)
    except (ValueError, RecursionError) as error:  # also numbers too long, and lists too deep, for Python's reader
        raise AnnotatorError(WHERE, "text that is no JSON", "OpenPose's JSON", f"It says: {error}.") from error


def _frames(keypoints: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield the frames of lists in lists; a null is a frame without people."""
    if keypoints is None:
        yield {"people": []}
    elif isinstance(keypoints, Mapping):
        if "people" not in keypoints:
            raise AnnotatorError(WHERE, f"a frame with {_named(keypoints)}", "a frame with 'people'",
                                 "Only human bodies in OpenPose's format can be drawn.")  # fmt: skip
        yield keypoints
    elif isinstance(keypoints, Sequence) and not isinstance(keypoints, str) and depth < DEEPEST:
        for each in keypoints:
            yield from _frames(each, depth + 1)
    else:
        raise AnnotatorError(WHERE, f"a {type(keypoints).__name__}", "frames with 'people', as OpenPose writes them",
                             DETECTOR)  # fmt: skip


def _named(frame: Mapping[str, Any]) -> str:
    return ", ".join(f"'{key}'" for key in list(frame)[:5]) or "nothing in it"


def _people(frame: Mapping[str, Any]) -> list[Any]:
    people = frame["people"] or []
    if not isinstance(people, Sequence) or not all(each is None or isinstance(each, Mapping) for each in people):
        raise AnnotatorError(WHERE, f"people of type {type(people).__name__}", "a list of dicts", DETECTOR)
    return [body for body in ((each or {}).get("pose_keypoints_2d") for each in people) if body]


def _canvas(frame: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return height and width of a frame's canvas, or None."""
    sides = [frame.get(name) for name in ("canvas_height", "canvas_width")]
    if not all(isinstance(side, int | float) and 1 <= side <= FARTHEST for side in sides):
        return None
    height, width = (int(side) for side in sides if side is not None)
    return height, width


def _points(body: Any) -> list[Point | None]:
    """Return the 18 joints of a body as they are written."""
    if not isinstance(body, Sequence) or isinstance(body, str):
        raise AnnotatorError(WHERE, f"a body of type {type(body).__name__}", "a list of numbers", DETECTOR)
    rows = [list(row) if isinstance(row, Sequence) else row for row in body]
    counts = {layout.count: layout for layout in LAYOUTS}
    if len(rows) in counts and all(row is None or isinstance(row, list) for row in rows):
        layout = counts[len(rows)]
    else:
        layout, rows = _split(rows)
    points = [_point(row) for row in rows]
    joints = [None if place is None else points[place] for place in layout.places]
    right, left = joints[RIGHT_SHOULDER], joints[LEFT_SHOULDER]
    if layout.places[NECK] is None and right and left:
        joints[NECK] = ((right[0] + left[0]) / 2, (right[1] + left[1]) / 2)
    return joints


def _split(values: list[Any]) -> tuple[Layout, list[Any]]:
    """Cut a flat list into points of three numbers, or of two where nobody gave scores."""
    for size in (3, 2):
        for layout in LAYOUTS:
            if len(values) == layout.count * size:
                return layout, [values[start : start + size] for start in range(0, len(values), size)]
    known = ", ".join(f"{3 * layout.count} ({layout.name})" for layout in LAYOUTS)
    expected = f"{known}: x, y and score of each point"
    raise AnnotatorError(WHERE, f"a body of {len(values)} numbers", expected, DETECTOR)


def _point(row: Any) -> Point | None:
    """Return a point, or None where it was not seen."""
    values = list(row or [])
    if len(values) < 2 or any(value is None for value in values):
        return None
    if not all(isinstance(value, int | float) for value in values):
        raise AnnotatorError(WHERE, f"a point {values}", "numbers: x, y and score", DETECTOR)
    x, y, score = (*values, 1.0)[:3]
    # Compared before anything is computed: a whole number may be too large for a float.
    if not (abs(x) <= FARTHEST and abs(y) <= FARTHEST) or not score >= LEAST_SCORE or x == y == 0:
        return None
    return float(x), float(y)


def _scaled(point: Point | None, scale: Point) -> Point | None:
    return None if point is None else (point[0] * scale[0], point[1] * scale[1])
