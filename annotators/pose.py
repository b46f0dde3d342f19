"""Drawings of body keypoints, in the colours that the pose adapters were trained with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.checks import check_choice
from .errors import AnnotatorError
from .keypoints import JOINTS, Person, Point, Poses

Colour = tuple[int, int, int]
# Joints of keypoints.JOINTS.
NOSE, NECK, R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST = range(8)
R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE, R_EYE, L_EYE, R_EAR, L_EAR = range(8, JOINTS)
# Pixels are taken at their middles, where OpenCV's polygons include their outline.
OUTLINE = 0.5
# Coordinates that went through fractions of the size must not fall into the pixel before.
ROUNDING = 1e-4


def _inside_ellipse(x: Tensor, y: Tensor, ends: tuple[Point, Point], width: int) -> Tensor:
    """Mark an ellipse between two points, with whole pixels and degrees as the adapters saw it."""
    (x1, y1), (x2, y2) = ends
    along = int(math.hypot(x2 - x1, y2 - y1) / 2) + OUTLINE
    angle = math.radians(int(math.degrees(math.atan2(y1 - y2, x1 - x2))))
    right, down = x - int((x1 + x2) / 2 + ROUNDING), y - int((y1 + y2) / 2 + ROUNDING)
    major = right * math.cos(angle) + down * math.sin(angle)
    minor = down * math.cos(angle) - right * math.sin(angle)
    return (major / along) ** 2 + (minor / (width + OUTLINE)) ** 2 <= 1


def _inside_line(x: Tensor, y: Tensor, ends: tuple[Point, Point], width: int) -> Tensor:
    """Mark the pixels near a segment."""
    (x1, y1), (x2, y2) = (_pixel(end) for end in ends)
    right, down = x2 - x1, y2 - y1
    place = (((x - x1) * right + (y - y1) * down) / max(right * right + down * down, 1)).clamp(0, 1)
    reach = width / 2 + OUTLINE
    return (x - x1 - place * right) ** 2 + (y - y1 - place * down) ** 2 <= reach**2


@dataclass(frozen=True)
class PoseStyle:
    """A way to draw bodies.

    Attributes:
        name: Its name.
        limbs: First joint, last joint and colour of each limb, in the order of drawing.
        joints: Joint and colour of each disc, in the order of drawing.
        inside: Marks the pixels of a limb.
        discs_first: Limbs lie on discs, not discs on limbs.
        scale: Width of limbs and radius of discs per width asked for.
        people: How many people the adapter was trained to see; 0 for any number.
    """

    name: str
    limbs: tuple[tuple[int, int, Colour], ...]
    joints: tuple[tuple[int, Colour], ...]
    inside: Callable[[Tensor, Tensor, tuple[Point, Point], int], Tensor]
    discs_first: bool
    scale: float
    people: int


# OpenPose's 18 colours, around the colour wheel.
WHEEL: tuple[Colour, ...] = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
OPENPOSE_LIMBS = (
    *((NECK, R_SHOULDER), (NECK, L_SHOULDER), (R_SHOULDER, R_ELBOW), (R_ELBOW, R_WRIST)),
    *((L_SHOULDER, L_ELBOW), (L_ELBOW, L_WRIST), (NECK, R_HIP), (R_HIP, R_KNEE), (R_KNEE, R_ANKLE)),
    *((NECK, L_HIP), (L_HIP, L_KNEE), (L_KNEE, L_ANKLE), (NECK, NOSE)),
    *((NOSE, R_EYE), (R_EYE, R_EAR), (NOSE, L_EYE), (L_EYE, L_EAR)),
)
CENTRE, LEFT, RIGHT = (255, 153, 51), (0, 255, 0), (0, 128, 255)
COCO_LIMBS = (
    *(
        (L_ANKLE, L_KNEE, LEFT),
        (L_KNEE, L_HIP, LEFT),
        (R_ANKLE, R_KNEE, RIGHT),
        (R_KNEE, R_HIP, RIGHT),
    ),
    *((L_HIP, R_HIP, CENTRE), (L_SHOULDER, L_HIP, CENTRE), (R_SHOULDER, R_HIP, CENTRE)),
    *((L_SHOULDER, R_SHOULDER, CENTRE), (L_SHOULDER, L_ELBOW, LEFT), (R_SHOULDER, R_ELBOW, RIGHT)),
    *(
        (L_ELBOW, L_WRIST, LEFT),
        (R_ELBOW, R_WRIST, RIGHT),
        (L_EYE, R_EYE, CENTRE),
        (NOSE, L_EYE, CENTRE),
    ),
    *((NOSE, R_EYE, CENTRE), (L_EYE, L_EAR, CENTRE), (R_EYE, R_EAR, CENTRE)),
    *((L_EAR, L_SHOULDER, CENTRE), (R_EAR, R_SHOULDER, CENTRE)),
)
COCO_JOINTS = (
    *((joint, CENTRE) for joint in (NOSE, L_EYE, R_EYE, L_EAR, R_EAR)),
    *((joint, LEFT if joint in (L_SHOULDER, L_ELBOW, L_WRIST, L_HIP, L_KNEE, L_ANKLE) else RIGHT)
      for joint in (L_SHOULDER, R_SHOULDER, L_ELBOW, R_ELBOW, L_WRIST, R_WRIST,
                    L_HIP, R_HIP, L_KNEE, R_KNEE, L_ANKLE, R_ANKLE)),
)  # fmt: skip


def _openpose(name: str, step: int) -> PoseStyle:
    """Return OpenPose's style: limbs at 60 %, joints at full colour; colours read backwards with a step of -1."""
    wheel = [(colour[::step][0], colour[1], colour[::step][2]) for colour in WHEEL]
    dim = [(round(red * 0.6), round(green * 0.6), round(blue * 0.6)) for red, green, blue in wheel]
    limbs = tuple((*limb, colour) for limb, colour in zip(OPENPOSE_LIMBS, dim, strict=False))
    return PoseStyle(name, limbs, tuple(enumerate(wheel)), _inside_ellipse, False, 1.0, 0)


POSE_STYLES = (
    _openpose("openpose", 1),
    _openpose("openpose bgr", -1),
    PoseStyle("keypose", COCO_LIMBS, COCO_JOINTS, _inside_line, True, 0.5, 2),
)


def draw_poses(poses: Poses, style: str = "openpose", stick_width: int = 4, max_people: int = 0) -> Tensor:
    """Draw bodies on black.

    Args:
        poses: The people of each picture, and the pictures' size.
        style: A name in :data:`POSE_STYLES`: ``openpose``, the same with red and blue swapped (``openpose bgr``, as the
            adapters for SDXL were trained), or ``keypose``.
        stick_width: Half width of a limb and radius of a joint in pixels, at least 1. Trained with 4 on pictures of
            512 pixels; ``keypose`` draws half of it.
        max_people: Draw the first ones only; 0 for as many as the style was trained with (keypose: 2; others: all).

    Returns:
        (B, 3, H, W) float32 in [0, 1], one picture per frame.

    Raises:
        AnnotatorError: There is no such style, or a number is too small.
    """
    check_choice("Draw pose, style", style, (row.name for row in POSE_STYLES), error=AnnotatorError)
    row = next(row for row in POSE_STYLES if row.name == style)
    if stick_width < 1 or max_people < 0:
        got = f"stick_width {stick_width}, max_people {max_people}"
        raise AnnotatorError(
            "Draw pose",
            got,
            "at least 1 and 0",
            "4 and 0 are as trained.",
            says="The stick width or the number of people is too small.",
        )
    width, most = max(1, round(stick_width * row.scale)), max_people or row.people or None
    return torch.stack([_draw(frame[:most], poses.size, row, width) for frame in poses.frames]).to(torch.float32) / 255


def _draw(people: tuple[Person, ...], size: tuple[int, int], style: PoseStyle, width: int) -> Tensor:
    canvas = torch.zeros(3, *size, dtype=torch.uint8)
    # All limbs of all people before all discs, or the reverse, so that nobody hides another person's joints.
    steps = (_draw_joints, _draw_limbs) if style.discs_first else (_draw_limbs, _draw_joints)
    for step in steps:
        for person in people:
            step(canvas, person, style, width)
    return canvas


def _draw_limbs(canvas: Tensor, person: Person, style: PoseStyle, width: int) -> None:
    for first, last, colour in style.limbs:
        start, end = person.joints[first], person.joints[last]
        if start is not None and end is not None:
            _paint(canvas, (start, end), width, colour, style.inside)


def _draw_joints(canvas: Tensor, person: Person, style: PoseStyle, width: int) -> None:
    for joint, colour in style.joints:
        point = person.joints[joint]
        if point is not None:
            _paint(canvas, (point, point), width, colour, _inside_disc)


def _inside_disc(x: Tensor, y: Tensor, ends: tuple[Point, Point], radius: int) -> Tensor:
    column, row = _pixel(ends[0])
    return (x - column) ** 2 + (y - row) ** 2 <= radius**2


def _pixel(point: Point) -> tuple[int, int]:
    return math.floor(point[0] + ROUNDING), math.floor(point[1] + ROUNDING)


def _paint(
    canvas: Tensor,
    ends: tuple[Point, Point],
    width: int,
    colour: Colour,
    inside: Callable[[Tensor, Tensor, tuple[Point, Point], int], Tensor],
) -> None:
    """Give the pixels inside a shape between two points a colour, on a canvas that is being drawn."""
    margin = width + 2
    limits = (canvas.shape[2], canvas.shape[1])
    low = [max(0, math.floor(min(pair)) - margin) for pair in zip(*ends, strict=True)]
    high = [
        min(limit, math.ceil(max(pair)) + margin) for pair, limit in zip(zip(*ends, strict=True), limits, strict=True)
    ]
    if low[0] >= high[0] or low[1] >= high[1]:
        return
    x = torch.arange(low[0], high[0], dtype=torch.float32)
    y = torch.arange(low[1], high[1], dtype=torch.float32).unsqueeze(1)
    region = canvas[:, low[1] : high[1], low[0] : high[0]]
    paint = torch.tensor(colour, dtype=canvas.dtype).view(3, 1, 1)
    region.copy_(torch.where(inside(x, y, ends, width), paint, region))
