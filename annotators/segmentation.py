"""Segmentations in the colours of the segmentation adapters: the 182 classes of COCO-Stuff."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import AnnotatorError
from .images import check_images, resize

_WHERE = "Segmentation"
UNLABELLED = 0  # black
# In the order of their ids, which begin with 1: things up to 91 (11 of them never annotated), then stuff.
LABELS = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "street sign", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep"),
    *("cow", "elephant", "bear", "zebra", "giraffe", "hat", "backpack", "umbrella", "shoe", "eye glasses"),
    *("handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat"),
    *("baseball glove", "skateboard", "surfboard", "tennis racket", "bottle", "plate", "wine glass", "cup", "fork"),
    *("knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza"),
    *("donut", "cake", "chair", "couch", "potted plant", "bed", "mirror", "dining table", "window", "desk", "toilet"),
    *("door", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "blender", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
    *("hair brush", "banner", "blanket", "branch", "bridge", "building-other", "bush", "cabinet", "cage", "cardboard"),
    *("carpet", "ceiling-other", "ceiling-tile", "cloth", "clothes", "clouds", "counter", "cupboard", "curtain"),
    *("desk-stuff", "dirt", "door-stuff", "fence", "floor-marble", "floor-other", "floor-stone", "floor-tile"),
    *("floor-wood", "flower", "fog", "food-other", "fruit", "furniture-other", "grass", "gravel", "ground-other"),
    *("hill", "house", "leaves", "light", "mat", "metal", "mirror-stuff", "moss", "mountain", "mud", "napkin", "net"),
    *("paper", "pavement", "pillow", "plant-other", "plastic", "platform", "playingfield", "railing", "railroad"),
    *("river", "road", "rock", "roof", "rug", "salad", "sand", "sea", "shelf", "sky-other", "skyscraper", "snow"),
    *("solid-other", "stairs", "stone", "straw", "structural-other", "table", "tent", "textile-other", "towel"),
    *("tree", "vegetable", "wall-brick", "wall-concrete", "wall-other", "wall-panel", "wall-stone", "wall-tile"),
    *("wall-wood", "water-other", "waterdrops", "window-blind", "window-other", "wood"),
)
# How far the sides of a mask may be from the canvas's proportions: what rounding to whole pixels or latents makes.
SKEW = 0.05


def label_id(label: str) -> int:
    """Return the id, 1 to 182, of a class.

    Raises:
        AnnotatorError: There is no such class.
    """
    if label not in LABELS:
        raise AnnotatorError(
            f"{_WHERE}, label",
            f"'{label}'",
            "one of the 182 classes of COCO-Stuff",
            "Choose one.",
            says="There is no class of this name.",
        )
    return LABELS.index(label) + 1


def label_colour(number: int) -> tuple[int, int, int]:
    """Return the colour of an id as bytes; 0 is black.

    The id's bits are dealt to red, green and blue in turn, lowest first, and fill each of them from the top.

    Source:
        PASCAL VOC's colour map over the ids of COCO-Stuff counted from 1, with which TencentARC coloured its data.
    """
    red, green, blue = (sum((number >> 3 * bit + channel & 1) << 7 - bit for bit in range(3)) for channel in range(3))
    return red, green, blue


def paint(labels: Tensor) -> Tensor:
    """Give label maps their colours.

    Args:
        labels: (B, H, W) of whole numbers: ids from 1 to 182, 0 where nothing is labelled.

    Returns:
        (B, 3, H, W) float32 in [0, 1].

    Raises:
        AnnotatorError: Another shape or type, or ids outside 0 to 182.
    """
    if labels.ndim != 3 or 0 in labels.shape or labels.is_floating_point() or labels.is_complex():
        found = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise AnnotatorError(f"{_WHERE}, labels", found, "whole numbers (B, H, W)", says="These are not label maps.")
    low, high = (int(value) for value in torch.aminmax(labels))
    if low < UNLABELLED or high > len(LABELS):
        fix = "COCO-Stuff's maps of bytes count from 0 and mark nothing by 255: add 1 modulo 256."
        raise AnnotatorError(
            f"{_WHERE}, labels",
            f"ids from {low} to {high}",
            f"0 (nothing) to {len(LABELS)}",
            fix,
            says="The label map holds ids that have no class.",
        )
    colours = torch.tensor([label_colour(number) for number in range(len(LABELS) + 1)], device=labels.device)
    return colours.to(torch.float32)[labels.long()].movedim(-1, 1) / 255


def paint_mask(canvas: Tensor | None, mask: Tensor, label: str) -> Tensor:
    """Paint what a mask marks in the colour of a class.

    Args:
        canvas: (B, C, H, W) in [0, 1], what was painted before; None for black of the mask's size.
        mask: (M, h, w) in [0, 1]; painted from 0.5 on. M is B, or one of both is 1. Another size of the canvas's
            proportions is stretched to it.
        label: A name in :data:`LABELS`.

    Returns:
        (max(B, M), 3, H, W) of the canvas's type, or float32.

    Raises:
        AnnotatorError: Canvas, mask or label can't be used, or do not fit.
    """
    colour = torch.tensor(label_colour(label_id(label)), dtype=torch.float32) / 255
    if mask.ndim != 3:
        got = f"a tensor of shape {tuple(mask.shape)}"
        raise AnnotatorError(
            f"{_WHERE}, mask",
            got,
            "masks (M, H, W)",
            "Pass masks of one channel.",
            says="This is not a mask.",
            topic="mask",
        )
    marks = check_images(f"{_WHERE}, mask", mask.unsqueeze(1))[:, :1]
    if canvas is None:
        below = torch.zeros_like(marks).expand(-1, 3, -1, -1)
    else:
        below = check_images(f"{_WHERE}, canvas", canvas)
    _check_fit(below, marks)
    marked = resize(marks, (below.shape[-2], below.shape[-1]), "nearest").to(below.device) >= 0.5
    painted = torch.where(marked, colour.to(below.device).view(1, 3, 1, 1), below)
    return painted if canvas is None else painted.to(canvas.dtype)


def _check_fit(canvas: Tensor, marks: Tensor) -> None:
    if 1 not in (len(canvas), len(marks)) and len(canvas) != len(marks):
        got = f"{len(marks)} masks for {len(canvas)} pictures"
        raise AnnotatorError(
            f"{_WHERE}, mask",
            got,
            "one, or one for each",
            "Make batches of the same length.",
            says="The number of masks does not match the number of pictures.",
        )
    (height, width), (tall, wide) = canvas.shape[-2:], marks.shape[-2:]
    skew = (tall * width) / (wide * height)
    if not 1 - SKEW <= skew <= 1 / (1 - SKEW):
        raise AnnotatorError(
            f"{_WHERE}, mask",
            f"{wide}x{tall}",
            f"the proportions of the canvas, {width}x{height}",
            "Draw the mask on a picture of that size.",
            says="The mask has other proportions than the canvas.",
        )
