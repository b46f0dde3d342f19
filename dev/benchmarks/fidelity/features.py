"""The fixed feature space of the Fréchet distance: an untrained network, whitened on true scenes.

No pretrained network belongs here, and one of photographs would say little of coloured shapes. Convolutions with random
weights of a fixed seed answer to colours, edges and corners at three sizes; the mean and the deviation of each answer
over the picture say how it looks and not where things are, which the other measures do. Their main directions among
true scenes, each scaled to deviation 1, are the features: the covariance of true pictures is then the identity, as well
conditioned as can be, sixteen dimensions are few against 128 pictures, and a distance counts in true deviations.
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
# Held-out scenes, far from those that are drawn: for the directions, and to compare with half as many others.
CALIBRATION, REFERENCE = 100_000, 200_000
TRUE_SCENES = 2048
CHUNK = 128


@dataclass(frozen=True)
class FeatureSpace:
    """Pictures as points.

    Attributes:
        network: (B, 3, H, W) -> raw answers (B, answers).
        mean: (answers,) over true scenes.
        directions: (answers, DIMENSIONS), each to deviation 1 over true scenes.
    """

    network: nn.Module
    mean: Tensor
    directions: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features of pictures (B, H, W, 3) in [0, 1]: (B, DIMENSIONS) in float64."""
        return (raw(self.network, images) - self.mean) @ self.directions


class Answers(nn.Module):
    """Random convolutions; mean and deviation over the picture of what each of them answers."""

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
    """Return the answers to pictures (B, H, W, 3) in float64."""
    parts = images[..., :3].movedim(-1, 1).float().split(CHUNK)
    return torch.cat([network(part.contiguous()).double() for part in parts])


def of_true_pictures(space: Callable[[Tensor], Tensor], place: tuple[int, int]) -> Tensor:
    """Apply something to the pictures of held-out scenes, a few at a time.

    Args:
        space: (B, H, W, 3) -> (B, …).
        place: First scene, and how many.
    """
    first, count = place
    starts = range(first, first + count, CHUNK)
    parts = (measure.truth(measure.held_out(min(CHUNK, first + count - start), start)) for start in starts)
    return torch.cat([space(part) for part in parts])


def feature_space(count: int = TRUE_SCENES) -> FeatureSpace:
    """Make the space after that many true scenes. It is the same everywhere, but for rounding."""
    network = Answers().eval()
    answers = of_true_pictures(lambda images: raw(network, images), (CALIBRATION, count))
    mean = answers.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov((answers - mean).T))
    largest = slice(-DIMENSIONS, None)
    return FeatureSpace(network, mean, vectors[:, largest] / values[largest].sqrt())
