"""How areas overlap: of masks, and of the classes of segmentation maps."""

from __future__ import annotations

import torch
from torch import Tensor

from ...annotators.images import to_bytes
from ...annotators.segmentation import LABELS, label_colour

# Classes of COCO-Stuff, and 0 for pixels without a label.
_IDS = len(LABELS) + 1
# How far a map's bytes may be from a class's colour. Resizing blends colours at the borders between classes.
_BLENDED = 12
CLASS_COUNT = len(LABELS)


def mask_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of masks (B, H, W); (B,), 0 where both are empty."""
    both = (first & second).flatten(1).sum(dim=1)
    return both / (first | second).flatten(1).sum(dim=1).clamp(min=1)


def labels_of(image: Tensor) -> Tensor:
    """Read the classes of a segmentation map from its colours.

    Args:
        image: (1, 3, H, W) in [0, 1], in the colours of :func:`label_colour`.

    Returns:
        Ids (H, W) from 1 to 182, 0 where nothing is labelled or the colour is none of these.
    """
    colours = torch.tensor([label_colour(number) for number in range(_IDS)], device=image.device)
    # Maps have few different colours.
    red, green, blue = to_bytes(image)[0].int()
    codes, places = ((red << 16) | (green << 8) | blue).unique(return_inverse=True)
    shown = torch.stack((codes >> 16, codes >> 8 & 255, codes & 255), dim=1)
    nearest = (shown[:, None] - colours).abs().amax(dim=2).min(dim=1)
    ids = torch.where(nearest.values <= _BLENDED, nearest.indices, 0)
    return ids[places]


def class_areas(asked: Tensor, found: Tensor) -> Tensor:
    """Count the pixels of each class, where a map has labels.

    Args:
        asked: Ids (H, W) of the map; pixels of 0 ask for nothing and don't count.
        found: Ids (H, W) of the picture.

    Returns:
        (3 · 182,): pixels of the class in both, in the map, and in the picture.
    """
    counted = asked > 0
    first, second = asked[counted], found[counted]
    areas = [torch.bincount(ids, minlength=_IDS)[1:] for ids in (first[first == second], first, second)]
    return torch.cat(areas)


def class_iou(sums: Tensor) -> Tensor:
    """Return the intersection over union of each class.

    Args:
        sums: Sums (R, 3 · 182) of :func:`class_areas`.

    Returns:
        (R, 182), in the order of the ids; NaN where a class was not asked for.
    """
    both, asked, found = sums.unflatten(1, (3, CLASS_COUNT)).unbind(1)
    return torch.where(asked > 0, both / (asked + found - both), torch.nan)


def mean_class_iou(sums: Tensor) -> Tensor:
    """Return the mean of :func:`class_iou` over the classes that were asked for: (R,), NaN without any."""
    return class_iou(sums).nanmean(dim=1)
