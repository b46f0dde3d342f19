"""One sampling run of an adapter as CONTROL_NET: its state, and its residuals."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.applied import AppliedAdapter
from ...adapter_models.calls import Call, Residuals
from ...adapter_models.crops import Crops
from ...adapter_models.errors import AdapterError
from ...adapter_models.families import UNetBlock
from ...adapter_models.stack import ResidualComputer
from ...adapter_models.weights import Moment, Side, Weights
from .advanced_apply import ADVANCED_APPLY
from .keyframes import KeyframeClock
from .options import adapter_options
from .state import Clock, Step, chunks_of

# Condition images whose residuals a run keeps; more than one only if a pack changes the image between calls.
_KEPT_HINTS = 4


@dataclass(frozen=True)
class ControlCall:
    """One call of a CONTROL_NET.

    Attributes:
        x: (prompts · pictures, C, h, w), the latent or the part of it that the UNet gets next.
        sigma: Its noise level.
        prompts: How many prompts are packed into it.
        options: ComfyUI's ``transformer_options``.
        strength: Strength at this call, 0 outside the control's range.
    """

    x: Tensor
    sigma: Tensor
    prompts: int
    options: Mapping[str, Any]
    strength: float

    @property
    def step(self) -> Step:
        """The step as the observer recorded it; else the order of ComfyUI's own guider, and no areas."""
        noted = adapter_options(self.options).step
        lists = 1 + max(self.options.get("cond_or_uncond") or [0])
        size = (int(self.x.shape[-2]), int(self.x.shape[-1]))
        return noted or Step(size, {}, ("positive", *("negative",) * lists))


@dataclass(eq=False)
class ControlRun:
    """One sampling run of an adapter as CONTROL_NET. Dropped with the run.

    Attributes:
        adapter: The adapter.
        sites: The block that each level is added to.
        model: ComfyUI's BaseModel.
        cell: Size of a latent cell in pixels.
        clock: Tells where a noise level stands in the run.
        pictures: Size of the generated batch, as far as it is known.
        weights: Factors of the strength.
        keyframes: The overrides of another pack's Apply node.
    """

    adapter: T2IAdapter
    sites: tuple[UNetBlock, ...]
    model: Any
    cell: int
    clock: Clock
    pictures: int
    weights: Weights
    keyframes: KeyframeClock
    _sums: OrderedDict[tuple[int, int, int], ResidualComputer] = field(default_factory=OrderedDict)
    _crops: Crops = field(init=False)

    def __post_init__(self) -> None:
        """Start without crops."""
        self._crops = Crops(self.adapter)

    def of_image(self, hint: Tensor, call: ControlCall) -> Residuals:
        """Return the residuals of a call for a whole condition image, or for an area of it.

        Args:
            hint: (N, C, H, W) in [0, 1], of any size.
            call: The call.
        """
        self.keyframes.go_to(call.sigma)
        sums = self._sums_of(hint, self._pictures(call))
        chunks = chunks_of(call.x, call.options, call.step)
        return sums.residuals(Call(tuple(chunks), (self._factors(call),), call.x.device, self.dtype))

    def of_crops(self, crops: Tensor, call: ControlCall) -> Residuals:
        """Return the residuals of a call whose condition images were cut to the size of the call.

        Args:
            crops: (N, C, H, W) in [0, 1] of the size of the call's picture: one per row, or one per picture of each
                prompt.
            call: The call.
        """
        self.keyframes.go_to(call.sigma)
        if self.keyframes.mask(self._pictures(call)) is not None:
            raise AdapterError(
                ADVANCED_APPLY,
                "a mask or latent keyframes under a sampler that cuts the picture into tiles without telling where",
                "one of the two",
                "Draw the mask into the condition image, or sample without tiles.",
                says="A mask can't act under a sampler that tiles the picture without telling where.",
            )
        rows, device = call.x.shape[0], call.x.device
        levels = self._crops.levels(crops, _shown(len(crops), rows, call.prompts), device=device, dtype=self.dtype)
        weights = self.keyframes.weights(self.weights)
        sides = [weights.of_side(side) for side in _sides(call)]
        residuals: Residuals = {}
        for level, factor, site in zip(levels, self._factors(call), self.sites, strict=True):
            weighted = _weighted(level, [factor * side for side in sides])
            residuals[site.part, site.index] = weighted.to(self.dtype).unsqueeze(0)
        return residuals

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the UNet."""
        return self.model.get_dtype_inference()  # type: ignore[no-any-return]

    def _factors(self, call: ControlCall) -> tuple[float, ...]:
        # Reading the noise level synchronises with the device, so only if the weights change over time.
        moment = self.clock.moment(float(call.sigma)) if self.weights.changes else Moment(0.0, 0.0)
        pairs = zip(self.weights.at(moment), self.keyframes.factors(self.sites), strict=False)
        return tuple(call.strength * own * other for own, other in pairs)

    def _pictures(self, call: ControlCall) -> int:
        window, animated = call.options.get("context_window"), call.options.get("ad_params") or {}
        told = (getattr(window, "total_frames", 0), animated.get("full_length") or 0)
        return max(self.pictures, call.x.shape[0] // call.prompts, *told)

    def _sums_of(self, hint: Tensor, pictures: int) -> ResidualComputer:
        """Return the residuals of a condition image with the current mask and weights."""
        weights, mask = self.keyframes.weights(self.weights), self.keyframes.mask(pictures)
        key = (id(hint), id(mask), id(weights))
        sums = self._sums.get(key)
        if sums is None or sums.pictures < pictures:
            use = AppliedAdapter(self.adapter, hint, self.sites, mask=mask, weights=weights)
            sums = self._sums[key] = ResidualComputer((use,), self.cell, pictures)
        self._sums.move_to_end(key)
        while len(self._sums) > _KEPT_HINTS:
            self._sums.popitem(last=False)
        return sums


def _weighted(level: Tensor, strengths: list[float]) -> Tensor:
    """Multiply each row of a level by its strength; the same tensor if all are 1."""
    if len(set(strengths)) > 1:
        return level * level.new_tensor(strengths).view(-1, 1, 1, 1)
    return level if strengths[0] == 1.0 else level * strengths[0]


def _shown(crops: int, rows: int, prompts: int) -> list[int]:
    """Return which crop each row shows, as ComfyUI spreads condition images over a batch."""
    pictures = rows // prompts
    return [row if crops == rows else row % pictures % min(crops, pictures) for row in range(rows)]


def _sides(call: ControlCall) -> list[Side]:
    """Return the side of each row: tile by tile, prompt by prompt, picture by picture."""
    numbers = call.options.get("cond_or_uncond") or [0]
    rows, sigmas = call.x.shape[0], call.options.get("sigmas")
    pictures = rows // len(numbers) if sigmas is None else sigmas.shape[0]
    pictures = pictures if rows % (pictures * len(numbers)) == 0 else max(1, rows // len(numbers))
    sides = call.step.sides
    return [sides[numbers[row // pictures % len(numbers)]] for row in range(rows)]
