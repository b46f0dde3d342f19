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
    # Exact maps, which are most, need no distances.
    pixels, places = to_bytes(image)[0].flatten(1).T.int().unique(dim=0, return_inverse=True)
    apart = (pixels[:, None] - colours).abs().amax(dim=2)
    nearest = apart.min(dim=1)
    ids = torch.where(nearest.values <= _BLENDED, nearest.indices, 0)
    return ids[places].view(image.shape[-2:])


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


def mean_class_iou(sums: Tensor) -> Tensor:
    """Return the mean intersection over union of the classes that were asked for.

    Args:
        sums: Sums (R, 3 · 182) of :func:`class_areas`.

    Returns:
        (R,); NaN where no class was asked for.
    """
    both, asked, found = sums.unflatten(1, (3, CLASS_COUNT)).unbind(1)
    ratios = torch.where(asked > 0, both / (asked + found - both), torch.nan)
    return ratios.nanmean(dim=1)


def class_iou_of(sums: Tensor, number: int) -> Tensor:
    """Return the intersection over union of the class with an id; see :func:`mean_class_iou`."""
    both, asked, found = sums.unflatten(1, (3, CLASS_COUNT))[:, :, number - 1].unbind(1)
    return torch.where(asked > 0, both / (asked + found - both), torch.nan)
