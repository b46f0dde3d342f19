"""Find the frames, the people and their numbers in every dialect of POSE_KEYPOINT."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .errors import AnnotatorError

KEYPOINTS_WHERE = "Pose keypoints"
CHECK_DETECTOR = "Check what detects the poses."
# Coordinates beyond this, in pixels, are a fault of the detector and count as not seen.
FARTHEST = 1_000_000
# Frames of a list of lists of frames, and room to spare.
_DEEPEST = 16


def frames_of(keypoints: Any) -> list[Mapping[str, Any]]:
    """Return the frames of keypoints: of one frame, or of lists in lists, or of their JSON.

    Raises:
        AnnotatorError: The value is something else.
    """
    return list(_frames(_parsed(keypoints)))


def as_python(value: Any) -> Any:
    """Return what numpy and torch hold as Python's own numbers and lists, and all else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def _parsed(keypoints: Any) -> Any:
    if not isinstance(keypoints, str):
        return keypoints
    try:
        return json.loads(keypoints)
    except (ValueError, RecursionError) as error:  # also numbers too long, and lists too deep, for Python's reader
        raise AnnotatorError(
            KEYPOINTS_WHERE,
            "text that is not JSON",
            "OpenPose's JSON",
            f"It says: {error}.",
            says="The keypoints are not valid JSON.",
        ) from error


def _frames(keypoints: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield the frames of lists in lists; a null is a frame without people."""
    if str(getattr(keypoints, "dtype", "")) == "object":
        keypoints = keypoints.tolist()  # numpy's way to hold dicts
    if keypoints is None:
        yield {"people": []}
    elif isinstance(keypoints, Mapping):
        if "people" not in keypoints:
            raise AnnotatorError(
                KEYPOINTS_WHERE,
                f"a frame with {_named(keypoints)}",
                "a frame with 'people'",
                "Only human bodies in OpenPose's format can be drawn.",
                says="These keypoints hold no people.",
            )
        yield keypoints
    elif isinstance(keypoints, Sequence) and not isinstance(keypoints, str) and depth < _DEEPEST:
        for each in keypoints:
            yield from _frames(each, depth + 1)
    else:
        raise AnnotatorError(
            KEYPOINTS_WHERE,
            f"a {type(keypoints).__name__}",
            "frames with 'people', as OpenPose writes them",
            CHECK_DETECTOR,
            says="These are not pose keypoints.",
            topic="keypoints",
        )


def _named(frame: Mapping[str, Any]) -> str:
    return ", ".join(f"'{key}'" for key in list(frame)[:5]) or "nothing in it"


def people_of(frame: Mapping[str, Any]) -> list[Any]:
    """Return the bodies of a frame, as they are written.

    Raises:
        AnnotatorError: The people are not a list of dicts.
    """
    people = as_python(frame["people"]) or []
    if not isinstance(people, Sequence) or not all(each is None or isinstance(each, Mapping) for each in people):
        raise AnnotatorError(
            KEYPOINTS_WHERE,
            f"people of type {type(people).__name__}",
            "a list of dicts",
            CHECK_DETECTOR,
            says="The people of a frame are not a list.",
            topic="keypoints",
        )
    return [body for body in (as_python((each or {}).get("pose_keypoints_2d")) for each in people) if body]


def canvas_of(frame: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return height and width of a frame's canvas, or None."""
    sides = [as_python(frame.get(name)) for name in ("canvas_height", "canvas_width")]
    if not all(isinstance(side, int | float) and 1 <= side <= FARTHEST for side in sides):
        return None
    height, width = (int(side) for side in sides if side is not None)
    return height, width
