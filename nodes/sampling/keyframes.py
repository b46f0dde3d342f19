"""The current keyframe of Advanced-ControlNet, and what it means for an adapter."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...adapter_models.families import UNetBlock
from ...adapter_models.weights import Weights
from .advanced_apply import Overrides

# Powers of a universal weight's base for the levels, fine to coarse.
UNIVERSAL_POWERS = (7, 2, 1, 0)
_MIDDLE_MULT = "middle_mult"


@dataclass(frozen=True)
class Override:
    """The overrides at one moment.

    Attributes:
        strength: Factor of the strength.
        weights: The other pack's weights, or None.
        mask: The keyframe's mask, or None.
        pictures: The keyframe's latent keyframes, or None.
        others: Strength of pictures without a latent keyframe.
    """

    strength: float = 1.0
    weights: Any = None
    mask: Tensor | None = None
    pictures: Any = None
    others: float = 0.0


@dataclass(eq=False)
class KeyframeClock:
    """Find the current keyframe of a run. Keyframes follow each other; a run never returns to an earlier one.

    Attributes:
        given: The overrides of the Apply node.
        starts: Noise levels at which the keyframes begin.
        highest: The highest noise level of the run.
    """

    given: Overrides
    starts: tuple[float, ...]
    highest: float
    now: Override = field(default_factory=Override)
    _last: float | None = None
    _index: int = -1
    _steps: int = 0
    _masks: dict[tuple[Any, ...], tuple[Any, Tensor]] = field(default_factory=dict)
    _weights: dict[tuple[int, int], Weights] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start with the overrides that need no keyframes."""
        self.now = Override(weights=self.given.weights, pictures=self.given.pictures)

    def go_to(self, sigma: Tensor) -> None:
        """Move to a noise level; all other methods then answer for it."""
        if self.given.keyframes:
            level = float(sigma)  # synchronises with the device, so only if there are keyframes
            if level != self._last:
                self._last = level
                self._advance(level)

    def _advance(self, level: float) -> None:
        keyframes = self.given.keyframes
        if self._index < 0 or self._steps >= self._guaranteed(self._index):
            for index in range(self._index + 1, len(keyframes)):
                if self.starts[index] < level:
                    break
                self._index, self._steps = index, 0
                self.now = self._entered(keyframes[index])
                if self._guaranteed(index) > 0:
                    break
        self._steps += 1

    def _guaranteed(self, index: int) -> int:
        # A keyframe that began before the run is over, whatever number of steps it guarantees.
        return 0 if self.starts[index] > self.highest else int(self.given.keyframes[index].guarantee_steps)

    def _entered(self, keyframe: Any) -> Override:
        before = self.now if keyframe.inherit_missing else Override()

        def first(*values: Any) -> Any:
            return next((value for value in values if value is not None), None)

        return Override(
            strength=float(keyframe.strength),
            weights=first(self.given.weights, keyframe.control_weights, before.weights),
            mask=first(keyframe.mask_hint_orig, before.mask),
            pictures=first(self.given.pictures, keyframe.latent_keyframes, before.pictures),
            others=float(keyframe.null_latent_kf_strength),
        )

    def factors(self, sites: Sequence[UNetBlock]) -> tuple[float, ...]:
        """Return the current factor of each level."""
        levels = _levels(self.now.weights, len(sites))
        middle = getattr(self.now.weights, "extras", {}).get(_MIDDLE_MULT, 1.0)
        pairs = zip(levels, sites, strict=True)
        return tuple(self.now.strength * level * (middle if site.part == "middle" else 1.0) for level, site in pairs)

    def weights(self, own: Weights) -> Weights:
        """Return the adapter's own weights with the current factor of the negative prompt."""
        negative = float(getattr(self.now.weights, "uncond_multiplier", 1.0))
        if negative == 1.0:
            return own
        key = (id(own), id(self.now.weights))
        if key not in self._weights:
            self._weights[key] = replace(own, negative=own.negative * negative)
        return self._weights[key]

    def mask(self, pictures: int) -> Tensor | None:
        """Return the current mask of each picture; None if the control acts everywhere alike.

        Args:
            pictures: Size of the generated batch.

        Returns:
            (1 or pictures, H, W); the same tensor while nothing changes.
        """
        masks = [mask for mask in (self.given.mask, self.now.mask) if mask is not None]
        key = (*map(id, masks), id(self.now.pictures), self.now.others, pictures)
        if key not in self._masks:
            strengths = [] if self.now.pictures is None else [_strengths(self.now.pictures, self.now.others, pictures)]
            found = [*masks, *strengths]
            # Keep the inputs alive, so that no other object gets their ids.
            self._masks[key] = ((masks, self.now.pictures), _product(found, pictures) if found else torch.empty(0))
        product = self._masks[key][1]
        return product if product.numel() else None


def _levels(weights: Any, count: int) -> tuple[float, ...]:
    given = getattr(weights, "weights_input", None)
    if getattr(weights, "weight_type", None) == "universal":
        levels = tuple(float(weights.base_multiplier) ** power for power in UNIVERSAL_POWERS)
    elif given:
        # One weight per input block of a UNet: take the first of each level.
        levels = tuple(float(value) for value in given[:: max(1, len(given) // len(UNIVERSAL_POWERS))])
    else:
        levels = (1.0,) * len(UNIVERSAL_POWERS)
    return levels[:count]


def _strengths(keyframes: Any, others: float, pictures: int) -> Tensor:
    strengths = [others] * pictures
    for keyframe in keyframes:
        index = keyframe.batch_index
        if -pictures <= index < pictures:
            strengths[index] = float(keyframe.strength)
    return torch.tensor(strengths).view(-1, 1, 1)


def _product(masks: list[Tensor], pictures: int) -> Tensor:
    """Multiply masks (M, H, W) of any sizes and numbers; the last of each serves the remaining pictures."""
    size = max((tuple(mask.shape[-2:]) for mask in masks), key=lambda size: size[0] * size[1])
    count = pictures if any(len(mask) > 1 for mask in masks) else 1
    return functools.reduce(torch.mul, (_fitted(mask.float(), count, size) for mask in masks))


def _fitted(mask: Tensor, count: int, size: tuple[int, ...]) -> Tensor:
    if tuple(mask.shape[-2:]) != size:
        mask = functional.interpolate(mask.unsqueeze(1), size=size, mode="bilinear").squeeze(1)
    rows = torch.arange(count).clamp(max=len(mask) - 1)
    return mask.index_select(0, rows.to(mask.device))
