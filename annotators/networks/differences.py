"""Convert convolutions on pixel differences to plain convolutions: both are linear in the pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Difference:
    """How the nine weights of a kernel act on differences between pixels.

    Attributes:
        name: As in the paper: central, angular and radial differences, or the vanilla convolution.
        size: Side of the plain kernel that computes the same.
        terms: (weight, pixel, sign): this weight of the published kernel is added to this pixel of the plain one.
    """

    name: str
    size: int
    terms: tuple[tuple[int, int, int], ...]


_PLAIN = tuple((place, place, 1) for place in range(9))
# Weight i sees its pixel less the next one on the way around the centre.
_AROUND = ((0, 1), (1, 2), (2, 5), (5, 8), (8, 7), (7, 6), (6, 3), (3, 0))
# The eight directions in a 5×5 kernel, (far, near). The first of the nine published weights has no direction.
_RAYS = ((0, 6), (2, 7), (4, 8), (10, 11), (14, 13), (20, 16), (22, 17), (24, 18))
DIFFERENCES = (
    Difference("central", 3, (*_PLAIN, *((place, 4, -1) for place in range(9)))),
    Difference(
        "angular",
        3,
        (
            *((here, here, 1) for here, _ in _AROUND),
            *((here, after, -1) for here, after in _AROUND),
        ),
    ),
    Difference(
        "radial",
        5,
        (
            *((weight, far, 1) for weight, (far, _) in enumerate(_RAYS, start=1)),
            *((weight, near, -1) for weight, (_, near) in enumerate(_RAYS, start=1)),
        ),
    ),
    Difference("vanilla", 3, _PLAIN),
)


def fold_kernel(kernel: Tensor, difference: Difference) -> Tensor:
    """Return the plain kernel that is equivalent to a published kernel on pixel differences.

    Args:
        kernel: (out, in, 3, 3).
        difference: What the published kernel acts on.

    Returns:
        (out, in, size, size), float32.
    """
    matrix = torch.zeros(9, difference.size**2, dtype=torch.float64, device=kernel.device)
    for weight, pixel, sign in difference.terms:
        matrix[weight, pixel] += sign
    folded: Tensor = (kernel.flatten(2).to(torch.float64) @ matrix).to(torch.float32)
    return folded.view(*kernel.shape[:2], difference.size, difference.size)
