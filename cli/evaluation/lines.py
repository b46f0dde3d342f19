"""How edges and depth of a picture agree with a map."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Lines from this brightness on count.
LINE = 0.5
# Pairs of points whose depths are compared, and the least difference that a map must have between them.
PAIRS, APART = 2000, 0.05
_SEED = 1


def edge_agreement(asked: Tensor, found: Tensor) -> dict[str, list[float]]:
    """Compare lines, with a tolerance of 1 pixel in every direction.

    Args:
        asked: (1, 3, H, W) in [0, 1], white lines on black.
        found: The same of the picture.

    Returns:
        ``precision``: found pixels near asked ones, and all found; ``recall``: asked pixels near found ones, and all
        asked; ``F1``: of this picture, and 1; 0 and 0 if neither has lines.
    """
    first, second = (image.mean(dim=1, keepdim=True) >= LINE for image in (asked, found))
    right = float((second & _near(first)).sum())
    reached = float((first & _near(second)).sum())
    drawn, wanted = float(second.sum()), float(first.sum())
    if not drawn and not wanted:
        return {"F1": [0.0, 0.0], "precision": [0.0, 0.0], "recall": [0.0, 0.0]}
    precision, recall = right / max(drawn, 1.0), reached / max(wanted, 1.0)
    # The harmonic mean of 0 and 0 is 0.
    f1 = 2 * precision * recall / max(precision + recall, 1e-12)
    return {"F1": [f1, 1.0], "precision": [right, drawn], "recall": [reached, wanted]}


def _near(lines: Tensor) -> Tensor:
    return functional.max_pool2d(lines.float(), 3, stride=1, padding=1) > 0


def gray_error(asked: Tensor, found: Tensor) -> list[float]:
    """Return the root mean square difference of gray maps (1, 3, H, W) in [0, 1], and 1."""
    difference = asked.double().mean(dim=1) - found.double().mean(dim=1)
    return [float(difference.square().mean().sqrt()), 1.0]


def depth_agreement(asked: Tensor, found: Tensor) -> dict[str, list[float]]:
    """Compare depth maps.

    Args:
        asked: (1, 3, H, W) in [0, 1], near is white.
        found: The same of the picture.

    Returns:
        ``RMSE``: see :func:`gray_error`; ``order``: the number of random pairs of points of which the same one is
        nearer, and the number of pairs that differ in the map by :data:`APART`.
    """
    first, second = (image.mean(dim=1).flatten() for image in (asked, found))
    generator = torch.Generator().manual_seed(_SEED)
    here, there = torch.randint(len(first), (2, PAIRS), generator=generator).to(first.device)
    wanted, shown = first[here] - first[there], second[here] - second[there]
    counted = wanted.abs() >= APART
    right = counted & (wanted.sign() == shown.sign())
    return {"RMSE": gray_error(asked, found), "order": [float(right.sum()), float(counted.sum())]}
