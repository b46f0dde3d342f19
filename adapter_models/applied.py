"""One adapter applied to a model: with its condition images, and how strongly it acts where and when."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .adapter import T2IAdapter
from .families import Block
from .hint import Fit
from .weights import NEUTRAL, Moment, Weights


@dataclass(frozen=True, eq=False)
class AppliedAdapter:
    """One adapter applied to a model.

    Attributes:
        adapter: The adapter.
        hint: Condition images, (N, C, H, W) in [0, 1]. Picture i of a batch takes condition i modulo N.
        sites: The block that each level is added to, fine to coarse.
        strength: Factor of the features.
        start_percent: Where in the noise schedule it begins to act, 0 the beginning.
        end_percent: Where it ends.
        fit: How the condition image gets the picture's size.
        mask: (M, H, W) in [0, 1]: where it acts. Picture i of a batch takes mask i modulo M.
        weights: Factors of the strength, by level, side of the guidance and time.
        source: The tensor that stands for the condition images from run to run, of which ``hint`` may be a view.
    """

    adapter: T2IAdapter
    hint: Tensor
    sites: tuple[Block, ...]
    strength: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    fit: Fit = "crop"
    mask: Tensor | None = None
    weights: Weights = NEUTRAL
    source: Tensor | None = None

    @property
    def by_picture(self) -> bool:
        """The pictures of a batch get different residuals."""
        return self.hint.shape[0] > 1 or (self.mask is not None and self.mask.shape[0] > 1)

    @property
    def always(self) -> bool:
        """It acts alike from the first step to the last."""
        return self.start_percent <= 0.0 and self.end_percent >= 1.0 and not self.weights.changes

    @property
    def differs_by_side(self) -> bool:
        """The two sides of the guidance get different residuals."""
        return self.weights.positive != self.weights.negative

    def factors(self, moment: Moment | None) -> tuple[float, ...]:
        """Return the factor of each level, without that of the side: at a moment, or None outside the range."""
        if moment is None:
            return (0.0,) * len(self.sites)
        return tuple(self.strength * factor for factor in self.weights.at(moment)[: len(self.sites)])
