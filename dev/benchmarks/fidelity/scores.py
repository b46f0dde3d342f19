"""Scores of the pictures: one number per scene and measure, stored beside the pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...miniature import measure, scenes
from .drawing import HALF
from .features import FeatureSpace

FEATURES = "features"
FILE = "scores.json"


def silhouette_in_half(images: Tensor, drawn: scenes.Scenes) -> Tensor:
    """Return the overlap of foreground and the scene's shapes in the inpainted half; (B,)."""
    shown = (measure.nearest(images) != drawn.background[:, None, None])[..., HALF:]
    there = (scenes.labels(scenes.distances(drawn)) > 0)[..., HALF:]
    both, either = ((shown & there).flatten(1).sum(dim=1), (shown | there).flatten(1).sum(dim=1))
    # An empty mask and an empty picture agree.
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def colour_in_half(images: Tensor, drawn: scenes.Scenes) -> Tensor:
    """Return the share of pixels in the inpainted half with the scene's colour; (B,)."""
    right = measure.nearest(images) == measure.nearest(measure.truth(drawn))
    return right[..., HALF:].float().flatten(1).mean(dim=1)


@dataclass(frozen=True)
class Measure:
    """A column of the tables.

    Attributes:
        name: Its heading.
        score: (pictures, scenes) -> one number per scene; None for the Fréchet distance, which compares sets.
        better: 1 if more is better, -1 if less is.
    """

    name: str
    score: Callable[[Tensor, scenes.Scenes], Tensor] | None
    better: int = 1


SILHOUETTE = Measure("silhouette IoU", measure.silhouette_iou)
SHAPE = Measure("shape IoU", measure.shape_iou)
PALETTE = Measure("palette L1", measure.palette_l1, -1)
PRESENT = Measure("colours present", measure.colours_present)
BOUND = Measure("bound", measure.binding)
HALF_SILHOUETTE = Measure("silhouette IoU in the mask", silhouette_in_half)
HALF_COLOUR = Measure("right colour in the mask", colour_in_half)
FRECHET = Measure("Fréchet", None, -1)
MEASURES = (SILHOUETTE, SHAPE, PALETTE, PRESENT, BOUND, HALF_SILHOUETTE, HALF_COLOUR)


def score(images: Tensor, drawn: scenes.Scenes, space: FeatureSpace) -> dict[str, Any]:
    """Return every measure's numbers (N) by name, and the features (N, D)."""
    found: dict[str, Any] = {row.name: row.score(images, drawn).tolist() for row in MEASURES if row.score}
    found[FEATURES] = space(images).tolist()
    return found


def kept(folder: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Tensor]:
    """Read the scores beside some pictures; compute them first if they are missing.

    Args:
        folder: The pictures' folder.
        make: Computes the scores.

    Returns:
        (N,) per measure, (N, D) for the features.
    """
    file = folder / FILE
    if not file.is_file():
        text = json.dumps(make())
        fresh = file.with_suffix(".part")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(file)
    found = json.loads(file.read_text(encoding="utf-8"))
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items()}
