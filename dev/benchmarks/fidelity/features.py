"""The fixed feature space of the Fréchet distance: an untrained network, whitened on true scenes.

A network pretrained on photographs would say little about coloured shapes. Convolutions with random weights of a fixed
seed respond to colours, edges and corners at three sizes. The mean and the deviation of each response over the picture
describe its look and not the positions, which the other measures cover. Their principal directions among true scenes,
each scaled to deviation 1, are the features. So the covariance of true pictures is the identity, sixteen dimensions are
few compared to 128 pictures, and the unit of a distance is a deviation of true pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from ...miniature import measure

WIDTHS = (3, 16, 32, 48)
DIMENSIONS = 16
SEED = 20230216
# First scenes of two held-out ranges, far from those that are drawn: for the directions, and for the reference, which
# has half as many scenes.
CALIBRATION, REFERENCE = 100_000, 200_000
TRUE_SCENES = 2048
CHUNK = 128


@dataclass(frozen=True)
class FeatureSpace:
    """Maps pictures to points of the feature space.

    Attributes:
        network: (B, 3, H, W) -> raw responses (B, responses).
        mean: (responses,) over true scenes.
        directions: (responses, DIMENSIONS), each scaled to deviation 1 over true scenes.
    """

    network: nn.Module
    mean: Tensor
    directions: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features of pictures (B, H, W, 3) in [0, 1]: (B, DIMENSIONS) in float64."""
        return (raw(self.network, images) - self.mean) @ self.directions


class Answers(nn.Module):
    """Random convolutions; returns mean and deviation of each response over the picture."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(SEED)
        self.layers = nn.ModuleList()
        for before, after in pairwise(WIDTHS):
            layer = nn.Conv2d(before, after, 3, stride=2, padding=1)
            weight = torch.randn(layer.weight.shape, generator=generator) * (2 / (before * 9)) ** 0.5
            layer.weight = nn.Parameter(weight, requires_grad=False)
            layer.bias = nn.Parameter(0.1 * torch.randn(after, generator=generator), requires_grad=False)
            self.layers.append(layer)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2 · channels of all layers)."""
        x, found = pictures * 2 - 1, []
        for layer in self.layers:
            x = torch.relu(layer(x))
            found += [x.mean(dim=(2, 3)), x.std(dim=(2, 3))]
        return torch.cat(found, dim=1)


def raw(network: nn.Module, images: Tensor) -> Tensor:
    """Return the responses to pictures (B, H, W, 3) in float64."""
    parts = images[..., :3].movedim(-1, 1).float().split(CHUNK)
    return torch.cat([network(part.contiguous()).double() for part in parts])


def of_true_pictures(space: Callable[[Tensor], Tensor], place: tuple[int, int]) -> Tensor:
    """Apply a function to the pictures of held-out scenes in chunks.

    Args:
        space: (B, H, W, 3) -> (B, …).
        place: First scene, and how many.
    """
    first, count = place
    starts = range(first, first + count, CHUNK)
    parts = (measure.truth(measure.held_out(min(CHUNK, first + count - start), start)) for start in starts)
    return torch.cat([space(part) for part in parts])


def feature_space(count: int = TRUE_SCENES) -> FeatureSpace:
    """Build the space from this many true scenes. It is the same on all machines, except for rounding."""
    network = Answers().eval()
    answers = of_true_pictures(lambda images: raw(network, images), (CALIBRATION, count))
    mean = answers.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov((answers - mean).T))
    largest = slice(-DIMENSIONS, None)
    return FeatureSpace(network, mean, vectors[:, largest] / values[largest].sqrt())
