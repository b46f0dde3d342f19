"""Find people's joints with ViTPose, in the boxes of a detector or in the whole image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...annotators.errors import AnnotatorError
from ...annotators.images import resize
from ...annotators.keypoints import KEYPOINT_LAYOUTS, LEAST_SCORE, read_poses
from ...annotators.networks.pose_networks import CHECK_BOXES, detect_pose
from ...annotators.networks.transformers_models import LoadedModel
from ...annotators.pose import draw_poses
from .network_annotator import AnnotationJob

DETECT_POSE = "T2I Detect Pose"
THRESHOLD = 0.3
COCO = KEYPOINT_LAYOUTS[0]
NECK_SIDES = (5, 6)  # the shoulders, in COCO's order
PERSON = "person"
# Points in the lists that ComfyUI's SDPose nodes read from every person; all are zero: not seen.
UNSEEN_PARTS = {"face_keypoints_2d": 70, "hand_right_keypoints_2d": 21, "hand_left_keypoints_2d": 21}


def draw_pose(job: AnnotationJob, style: str, threshold: float = THRESHOLD) -> io.NodeOutput:
    """Find one person's joints in each image, and draw them at the resolution of the job.

    Args:
        job: The images and the choice of weights.
        style: See :func:`draw_poses`.
        threshold: Lowest score, 0 to 1, of a joint that is drawn.
    """

    def draw(network: LoadedModel, images: Tensor) -> Tensor:
        return draw_poses(read_poses(find_poses(network, images, 0, threshold)), style)

    return job.run("pose", draw)


def find_poses(
    network: LoadedModel, images: Tensor, resolution: int, threshold: float, boxes: Sequence[Tensor] | None = None
) -> list[dict[str, Any]]:
    """Find the joints of people.

    Args:
        network: The network.
        images: (B, 3, H, W) in [0, 1].
        resolution: Short side in pixels to run the network at; 0 for the images' own.
        threshold: Lowest score, 0 to 1, of a joint that is kept.
        boxes: For each image (N, 4), as in :func:`detect_pose`, in pixels of the image.

    Returns:
        One frame per image in OpenPose's format: 18 joints per person, in pixels; face and hands are not seen.
    """
    height, width = images.shape[-2:]
    scale = resolution / min(height, width) if resolution else 1.0
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    zoom = images.new_tensor([width / size[1], height / size[0]])
    small = None if boxes is None else [each.to(images) / zoom.repeat(2) for each in boxes]
    people = detect_pose(network, resize(images, size), small)
    return [
        {
            "people": [_person(joints_of_one, threshold) for joints_of_one in joints],
            "canvas_width": width,
            "canvas_height": height,
        }
        for joints in (torch.cat((each[..., :2] * zoom, each[..., 2:]), -1).cpu() for each in people)
    ]


def _person(joints: Tensor, threshold: float) -> dict[str, list[float]]:
    """Return a person's dict in OpenPose's format, from 17 joints (17, 3) in COCO's order."""
    unseen = {part: [0.0] * 3 * count for part, count in UNSEEN_PARTS.items()}
    return {"pose_keypoints_2d": _openpose(joints, threshold), **unseen}


def _openpose(joints: Tensor, threshold: float) -> list[float]:
    """Convert 17 joints (17, 3) in COCO's order to OpenPose's 18, flattened; unseen joints are zero."""
    seen = joints[:, 2:] >= max(threshold, torch.finfo(joints.dtype).tiny)
    # Other nodes drop joints with low scores. The user's threshold has already decided, so raise the scores it kept.
    scores = joints[:, 2:].clamp(LEAST_SCORE, 1.0)
    points = torch.where(seen, torch.cat((joints[:, :2], scores), -1), 0.0)
    left, right = (points[side] for side in NECK_SIDES)
    neck = (left + right) / 2 if left[2] > 0 and right[2] > 0 else torch.zeros(3)
    rows = [neck if place is None else points[place] for place in COCO.places]
    return [float(value) for row in rows for value in row]


def read_boxes(bboxes: Any, count: int) -> list[Tensor] | None:
    """Read people's boxes in the formats that detectors give.

    Args:
        bboxes: One box, a list of boxes for all images, a list of such lists (one per image), or None.
        count: Number of images.

    Returns:
        For each image (N, 4): left, top, width and height in pixels; None without boxes.

    Raises:
        AnnotatorError: The value is not boxes, or has boxes for another number of images.
    """
    if bboxes is None:
        return None
    frames = [[bboxes]] if isinstance(bboxes, Mapping) else bboxes
    if isinstance(frames, Sequence) and all(isinstance(each, Mapping) for each in frames):
        frames = [frames]
    if not isinstance(frames, Sequence) or len(frames) not in (1, count):
        found = f"boxes for {len(frames)} pictures" if isinstance(frames, Sequence) else f"a {type(frames).__name__}"
        raise AnnotatorError(
            f"{DETECT_POSE}, bboxes",
            found,
            f"boxes for {count}, or for all",
            "Give each picture its own.",
            says="The number of boxes does not match the number of pictures.",
        )
    read = [_boxes(frame) for frame in frames]
    return read * count if len(read) == 1 else read


def _boxes(frame: Any) -> Tensor:
    try:
        rows = [
            [float(box[side]) for side in ("x", "y", "width", "height")]
            for box in frame
            if box.get("label") in (None, "", PERSON)
        ]
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        expected = "boxes with x, y, width and height in pixels"
        got = f"{type(error).__name__}: {error}"
        raise AnnotatorError(
            f"{DETECT_POSE}, bboxes", got, expected, CHECK_BOXES, says="These are not boxes of people.", topic="people"
        ) from error
    return torch.tensor(rows).reshape(-1, 4)
