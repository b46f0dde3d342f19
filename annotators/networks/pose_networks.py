"""Keypoints of people, by ViTPose: 17 joints in COCO's order for each person's box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import AnnotatorError
from ..images import check_images
from ..keypoints import read_poses
from ..pose import draw_poses
from .network_input import normal_values
from .transformers_models import LoadedModel

_WHERE = "pose"
CHECK_BOXES = "Check what detects the people."
# A person's box is widened by this factor, as in training.
_BOX_FACTOR = 1.25
# DARK: heat maps are smoothed (sigma 0.8, 11 pixels), and the peak is moved to that of the Gaussian through its
# neighbours.
SIGMA, _REACH = 0.8, 5
LEAST_HEAT, MOST_HEAT = 0.001, 50.0


def detect_pose(loaded: LoadedModel, images: Tensor, boxes: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Find the joints of people.

    Args:
        loaded: A network of the task ``pose``.
        images: (B, C, H, W) in [0, 1].
        boxes: For each picture (N, 4): left, top, width and height of each person in pixels. Without them, one person
            fills each picture.

    Returns:
        For each picture (N, 17, 3): x and y in pixels, and a score, by COCO's order: nose, eyes, ears, shoulders,
        elbows, wrists, hips, knees, ankles, left before right. Where a heat map has no positive value, the score is at
        most 0 and the joint is meaningless.

    Raises:
        AnnotatorError: The input is not pictures, boxes are misshapen or empty, or the network has another task.

    Source: Xu et al., ViTPose, arXiv 2204.12484; Huang et al., UDP, arXiv 1911.07524; Zhang et al., DARK,
    arXiv 1910.06278.
    """
    if loaded.model.task != "pose":
        raise AnnotatorError(
            _WHERE,
            loaded.model.network,
            "a network for poses",
            "Choose another file.",
            says="This network does not find poses.",
        )
    images = check_images(_WHERE, images)
    height, width = images.shape[-2:]
    if boxes is None:
        boxes = [images.new_tensor([[0.0, 0.0, width, height]])] * len(images)
    check_boxes(boxes, len(images))
    return [
        _joints(loaded, image, each.to(images)) if len(each) else images.new_zeros(0, 17, 3)
        for image, each in zip(images.split(1), boxes, strict=True)
    ]


def pose_picture(loaded: LoadedModel, images: Tensor, **settings: Any) -> Tensor:
    """Find the joints of one person per picture and draw them.

    Args:
        loaded: A network of the task ``pose``.
        images: (B, C, H, W) in [0, 1].
        settings: As of :func:`draw_poses`.

    Returns:
        (B, 3, H, W), float32 in [0, 1].

    Raises:
        AnnotatorError: As :func:`detect_pose` and :func:`draw_poses`.
    """
    height, width = images.shape[-2:]
    frames = [
        {
            "people": [{"pose_keypoints_2d": joints.flatten().tolist()} for joints in people],
            "canvas_width": width,
            "canvas_height": height,
        }
        for people in detect_pose(loaded, images)
    ]
    return draw_poses(read_poses(frames), **settings)


def check_boxes(boxes: Sequence[Tensor], count: int) -> None:
    """Refuse boxes that are not (N, 4) for each picture, and empty ones."""
    if len(boxes) != count:
        raise AnnotatorError(
            _WHERE,
            f"boxes for {len(boxes)} pictures",
            f"boxes for {count}",
            "Give each picture its own.",
            says="The number of boxes does not match the number of pictures.",
        )
    for each in boxes:
        if each.ndim != 2 or each.shape[1] != 4:
            got, expected = f"boxes of shape {tuple(each.shape)}", "(people, 4): left, top, width, height"
            raise AnnotatorError(
                _WHERE, got, expected, CHECK_BOXES, says="These are not boxes of people.", topic="people"
            )
        if not bool(torch.isfinite(each).all() and (each[:, 2:] > 0).all()):
            expected = "a width and height of more than 0 pixels"
            raise AnnotatorError(
                _WHERE,
                f"a box {each.tolist()}",
                expected,
                CHECK_BOXES,
                says="A person's box has no area.",
                topic="people",
            )


def _joints(loaded: LoadedModel, image: Tensor, boxes: Tensor) -> Tensor:
    """(1, 3, H, W), (N, 4) -> (N, 17, 3)."""
    network: Any = loaded.network
    size = loaded.model.fit or (256, 192)
    corners, extents = regions(boxes, size[1] / size[0])
    people = normal_values(loaded.model, crop(image, corners, extents, size))
    heat = network(pixel_values=people.to(next(network.parameters()).dtype)).heatmaps.to(torch.float32)
    places, scores = peaks(heat)
    # From the first and last column to the edges of the region: the grid's points lie on its corners.
    cells = boxes.new_tensor([heat.shape[-1] - 1, heat.shape[-2] - 1])
    points = corners[:, None] + places / cells * extents[:, None]
    return torch.cat((points, scores[..., None]), -1)


def regions(boxes: Tensor, aspect: float) -> tuple[Tensor, Tensor]:
    """Widen boxes to an aspect, with room around them.

    Args:
        boxes: (N, 4): left, top, width, height in pixels.
        aspect: Width by height.

    Returns:
        Left and top (N, 2), width and height (N, 2).
    """
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    width = torch.maximum(boxes[:, 2], boxes[:, 3] * aspect) * _BOX_FACTOR
    extents = torch.stack((width, width / aspect), 1)
    return centres - extents / 2, extents


def crop(image: Tensor, corners: Tensor, extents: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut regions out of a picture; what is outside it is black.

    Args:
        image: (1, 3, H, W).
        corners: (N, 2): left and top of each region; they fall on the centre of the first pixel.
        extents: (N, 2): width and height; their ends fall on the centre of the last pixel.
        size: Height and width of the result.

    Returns:
        (N, 3, *size).
    """
    steps = (torch.linspace(0, 1, side, dtype=image.dtype, device=image.device) for side in reversed(size))
    x, y = (corners[:, axis, None] + each * extents[:, axis, None] for axis, each in zip((0, 1), steps, strict=True))
    height, width = image.shape[-2:]
    # grid_sample counts from -1 to 1, here between the centres of the outermost pixels.
    grid_x = (2 * x / max(width - 1, 1) - 1)[:, None, :].expand(-1, size[0], -1)
    grid_y = (2 * y / max(height - 1, 1) - 1)[:, :, None].expand(-1, -1, size[1])
    grid = torch.stack((grid_x, grid_y), -1)
    return functional.grid_sample(image.expand(len(grid), -1, -1, -1), grid, align_corners=True)


def peaks(heat: Tensor) -> tuple[Tensor, Tensor]:
    """Find the peaks of heat maps between the cells.

    Args:
        heat: (N, K, h, w).

    Returns:
        x and y in cells (N, K, 2), and the greatest heat (N, K).
    """
    width = heat.shape[-1]
    scores, index = heat.flatten(2).max(-1)
    x, y = index % width, index // width
    smooth = _blur(heat).clamp(LEAST_HEAT, MOST_HEAT).log()
    around = functional.pad(smooth, (1, 1, 1, 1), mode="replicate").flatten(2)

    def at(columns: int, rows: int) -> Tensor:
        place = (y + 1 + rows) * (width + 2) + x + 1 + columns
        return around.gather(2, place[..., None])[..., 0]

    middle = at(0, 0)
    right, down = (at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2
    across = at(1, 0) - 2 * middle + at(-1, 0)
    along = at(0, 1) - 2 * middle + at(0, -1)
    mixed = (at(1, 1) - at(1, 0) - at(0, 1) + 2 * middle - at(-1, 0) - at(0, -1) + at(-1, -1)) / 2
    # Newton's step, where the surface is curved at all.
    curvature = across * along - mixed**2
    step = torch.stack((along * right - mixed * down, across * down - mixed * right), -1)
    move = torch.where(curvature[..., None] == 0, 0, step / curvature[..., None])
    return torch.stack((x, y), -1) - move, scores


def _blur(heat: Tensor) -> Tensor:
    """Smooth maps by a Gaussian, their edges mirrored; (N, K, h, w) -> the same shape."""
    steps = torch.arange(-_REACH, _REACH + 1, dtype=heat.dtype, device=heat.device)
    weights = torch.exp(-(steps**2) / (2 * SIGMA**2))
    weights = weights / weights.sum()
    maps = heat.flatten(0, 1)[:, None]
    # Mirrored with the outermost cell repeated, which torch's own padding can't do.
    across, down = (_mirrored(side, heat.device) for side in (maps.shape[-1], maps.shape[-2]))
    maps = functional.conv2d(maps[..., across], weights.view(1, 1, 1, -1))
    maps = functional.conv2d(maps[..., down, :], weights.view(1, 1, -1, 1))
    return maps[:, 0].view(heat.shape)


def _mirrored(side: int, device: torch.device) -> Tensor:
    """Return the cells -_REACH to side + _REACH of a row that is mirrored at its ends, edge cells repeated."""
    steps = torch.arange(-_REACH, side + _REACH, device=device) % (2 * side)
    return torch.where(steps < side, steps, 2 * side - 1 - steps)
