"""One adapter applied to a model: its condition images, and its strength over space and time."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .adapter import T2IAdapter
from .families import UNetBlock
from .hint import Fit
from .weights import NEUTRAL, Moment, Weights


@dataclass(frozen=True, eq=False)
class AppliedAdapter:
    """One adapter applied to a model.

    Attributes:
        adapter: The adapter.
        hint: Condition images, (N, C, H, W) in [0, 1]. Picture i of a batch uses condition i modulo N.
        sites: The block that each level is added to, fine to coarse.
        strength: Factor of the features.
        start_percent: Where in the noise schedule it starts to act; 0 is the beginning.
        end_percent: Where it stops.
        fit: How the condition image is resized to the picture.
        mask: Where it acts, (M, H, W) in [0, 1]. Picture i of a batch uses mask i modulo M.
        weights: Factors of the strength, by level, side of the guidance and time.
        source: The tensor that ``hint`` is a view of; cached features live as long as it does.
        origin: What a host remembers about where it was applied.
    """

    adapter: T2IAdapter
    hint: Tensor
    sites: tuple[UNetBlock, ...]
    strength: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    fit: Fit = "crop"
    mask: Tensor | None = None
    weights: Weights = NEUTRAL
    source: Tensor | None = None
    origin: object = None

    @property
    def by_picture(self) -> bool:
        """Whether the pictures of a batch get different residuals."""
        return self.hint.shape[0] > 1 or (self.mask is not None and self.mask.shape[0] > 1)

    @property
    def always(self) -> bool:
        """Whether its strength is the same at every step."""
        return self.start_percent <= 0.0 and self.end_percent >= 1.0 and not self.weights.changes

    @property
    def differs_by_side(self) -> bool:
        """Whether positive and negative prompts get different residuals."""
        return self.weights.positive != self.weights.negative

    def factors(self, moment: Moment | None) -> tuple[float, ...]:
        """Return each level's factor at a moment, without the factor of the side; None outside the range."""
        if moment is None:
            return (0.0,) * len(self.sites)
        return tuple(self.strength * factor for factor in self.weights.at(moment)[: len(self.sites)])
