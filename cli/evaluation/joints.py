"""How a picture's poses agree with a map: joints are read from drawings in OpenPose's colours."""

from __future__ import annotations

import torch
from torch import Tensor

from ...annotators.images import to_bytes
from ...annotators.pose import WHEEL

# Half of the smallest difference between two of the colours. Limbs are darker than any joint.
_TOLERANCE = 40
# Smaller patches are remains of a hidden joint, or blended colours.
_SMALLEST = 3
# A joint within this share of the body's longer side is right.
PCK_REACH = 0.1
# Doubled deviations of human annotations by joint, relative to the body's size, in OpenPose's order; the neck counts
# as a shoulder. Source: COCO keypoint evaluation, object keypoint similarity.
_SPREAD = (0.052, 0.158, *((0.158, 0.144, 0.124) * 2), *((0.214, 0.174, 0.178) * 2), 0.05, 0.05, 0.07, 0.07)


def read_joints(drawing: Tensor) -> list[Tensor]:
    """Find the joints in a drawing of bodies.

    Args:
        drawing: (1, 3, H, W) in [0, 1], in OpenPose's style.

    Returns:
        For each of the 18 joints x and y in pixels of every person's, (N, 2).
    """
    values = to_bytes(drawing)[0].int()
    found = []
    for colour in WHEEL:
        wanted = torch.tensor(colour, device=values.device).view(3, 1, 1)
        places = ((values - wanted).abs() <= _TOLERANCE).all(dim=0).nonzero().flip(1).float()
        found.append(_centres(places))
    return found


def _centres(places: Tensor) -> Tensor:
    """Return the centres of connected patches of pixels, (P, 2) -> (N, 2)."""
    near = torch.cdist(places, places) < 1.5
    labels = torch.arange(len(places), device=places.device)
    while len(places):
        # The least number of a pixel's neighbours, until all pixels of a patch have the same.
        least = torch.where(near, labels, len(places)).amin(dim=1)
        if torch.equal(least, labels):
            break
        labels = least
    centres = [places[labels == label].mean(dim=0) for label in labels.unique() if (labels == label).sum() >= _SMALLEST]
    return torch.stack(centres) if centres else places[:0]


def pose_agreement(asked: Tensor, found: Tensor) -> dict[str, list[float]]:
    """Compare drawings of bodies: each joint of the map with the nearest one of its type in the picture.

    Args:
        asked: (1, 3, H, W) in [0, 1], in OpenPose's style.
        found: The same of the picture.

    Returns:
        ``PCK``: joints of the map that are within :data:`PCK_REACH` of the bodies' longer side, and all of them;
        ``OKS``: the mean object keypoint similarity over the map's joints, and 1; 0 and 0 without joints.
    """
    wanted, shown = read_joints(asked), read_joints(found)
    every = torch.cat(wanted)
    if len(every) < 2:
        return {"PCK": [0.0, 0.0], "OKS": [0.0, 0.0]}
    sides = (every.amax(dim=0) - every.amin(dim=0)).clamp(min=1.0)
    right, similar = 0.0, 0.0
    for joints, candidates, spread in zip(wanted, shown, _SPREAD, strict=True):
        if not len(joints) or not len(candidates):
            continue
        distance = torch.cdist(joints, candidates).amin(dim=1)
        right += float((distance <= PCK_REACH * sides.max()).sum())
        similar += float(torch.exp(-distance.square() / (2 * sides.prod() * spread**2)).sum())
    return {"PCK": [right, float(len(every))], "OKS": [similar / len(every), 1.0]}
