"""The engine: adapters applied to a model, and the residuals they add at each site of its UNet."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from .adapter import T2IAdapter
from .applied import AppliedAdapter
from .calls import Area, Call, Chunk, Residuals, Site
from .combine import SUM, Combination, T2IFuser
from .features import crop_level
from .targets import Target, TargetInputs, empty_batch

# Residuals kept per run. A step needs one for each packing of its calls, rarely more than two.
READY_SUMS = 4


@dataclass(frozen=True)
class AdapterStack:
    """The adapters applied to a model, in the order of application; the order affects only rounding.

    Attributes:
        uses: The adapters.
        combination: How they combine.

    Raises:
        AdapterError: They can't be combined this way.
    """

    uses: tuple[AppliedAdapter, ...] = ()
    combination: Combination = SUM

    def __post_init__(self) -> None:
        """Refuse adapters that can't be combined."""
        self.combination.check(self.uses)

    def with_use(self, use: AppliedAdapter) -> AdapterStack:
        """Return a stack with one more adapter."""
        return replace(self, uses=(*self.uses, use))


@dataclass(eq=False)
class ResidualComputer:
    """The residuals of a stack during one sampling run.

    Attributes:
        uses: The adapters.
        cell: Size of a latent cell in pixels.
        pictures: Size of the generated batch.
        combination: How the adapters combine.
    """

    uses: tuple[AppliedAdapter, ...]
    cell: int
    pictures: int
    combination: Combination = SUM
    _inputs: dict[Target, TargetInputs] = field(default_factory=dict)
    _ready: OrderedDict[Call, Residuals] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Refuse an empty batch."""
        if self.pictures < 1:
            raise empty_batch("a batch of 0 latents")

    def prepare(self, target: Target, load: Callable[[T2IAdapter | T2IFuser, int], None]) -> None:
        """Compute the features of all adapters, one adapter after another, and a fuser's gains.

        Args:
            target: Where the residuals will be added.
            load: Called with the networks that must compute, and the bytes they need besides their weights.
        """
        inputs = self._inputs_for(target)
        for number, use in enumerate(self.uses):
            if 0 not in target.size and not inputs.has_features(number):
                count = min(self.pictures, use.hint.shape[0])
                load(use.adapter, use.adapter.forward_bytes(count, inputs.pixels, target.dtype))
            inputs.features(number)
        fuser = self.combination.fuses
        if fuser is not None and not inputs.has_gains():
            load(fuser, 0)
        inputs.check_strengths([[abs(use.strength) * factor for factor in use.weights.largest] for use in self.uses])

    def residuals(self, call: Call) -> Residuals:
        """Return the residual of each site, computed once for equal calls.

        Args:
            call: The coming call of the UNet.

        Returns:
            For each site (K, R, C, h, w): K is 1 or the number of chunks, R is 1 or the pictures of a chunk. Don't
            write into them: equal calls get the same tensors.
        """
        call = self._simplified(call)
        with self._lock:
            found = self._ready.get(call)
            if found is None:
                for stale in [old for old in self._ready if old.weights != call.weights]:
                    del self._ready[stale]
                found = self._ready[call] = self._sum(call)
                while len(self._ready) > READY_SUMS:
                    self._ready.popitem(last=False)
            else:
                self._ready.move_to_end(call)
            return found

    def fused_style(self, target: Target) -> Tensor | None:
        """Return the style's tokens as weighed by the fuser.

        Args:
            target: Where the residuals are added, and where to return the tokens.

        Returns:
            (1 or pictures, n, width) in full precision; None if no style goes through a fuser.
        """
        if self.combination.style is None:
            return None
        with self._lock:
            gains = self._inputs_for(target).gains()
        return None if gains is None else gains.style

    def _inputs_for(self, target: Target) -> TargetInputs:
        if target not in self._inputs:
            self._inputs[target] = TargetInputs(self.uses, self.combination, target, self.cell, self.pictures)
        return self._inputs[target]

    def _simplified(self, call: Call) -> Call:
        # If all pictures and all prompts get the same residual, broadcasting serves them from one.
        chunks = call.chunks
        if not any(use.by_picture for use in self.uses):
            chunks = tuple(replace(chunk, frames=()) for chunk in chunks)
        if not any(use.differs_by_side for use in self.uses):
            chunks = tuple(replace(chunk, side="positive") for chunk in chunks)
        if all(chunk == chunks[0] for chunk in chunks):
            chunks = chunks[:1]
        return Call(chunks, call.weights, call.device, call.dtype)

    def _sum(self, call: Call) -> Residuals:
        for chunk in dict.fromkeys(replace(chunk, area=None, frames=()) for chunk in call.chunks):
            sides = [use.weights.of_side(chunk.side) for use in self.uses]
            factors = [[factor * side for factor in row] for row, side in zip(call.weights, sides, strict=True)]
            self._inputs_for(call.target(chunk)).check_strengths(factors)
        sums: Residuals = {}
        for number, use in enumerate(self.uses):
            for level, site in enumerate(use.sites):
                part = _packed([self._part(number, level, chunk, call) for chunk in call.chunks])
                key = (site.part, site.index)
                sums[key] = part if key not in sums else sums[key] + part
        if self.combination.method == "mean":
            sums = {key: total * self._shares(key, call) for key, total in sums.items()}
        return {key: total.to(call.dtype) for key, total in sums.items()}

    def _part(self, number: int, level: int, chunk: Chunk, call: Call) -> Tensor:
        """Return what an adapter adds to one chunk at one level, (R, C, h, w)."""
        inputs = self._inputs_for(call.target(chunk))
        part = _rows(inputs.features(number).levels[level], chunk.frames)
        gains, masks = inputs.gains(), inputs.masks(number)
        if gains is not None:
            part = part * _rows(gains.maps[number][level], chunk.frames)
        if masks:
            part = part * _rows(masks[level], chunk.frames).to(part.dtype)
        if chunk.area is not None:
            part = self._cut(part, number, level, chunk.area)
        factor = self._factor(number, level, chunk, call)
        return part if factor == 1.0 else part * factor

    def _shares(self, key: Site, call: Call) -> Tensor:
        """Return the largest weight at a site over the sum of all, (K, R, 1, h, w); it turns a sum into a mean."""
        weights = [
            _packed([self._weight(number, level, chunk, call).abs() for chunk in call.chunks])
            for number, use in enumerate(self.uses)
            for level, site in enumerate(use.sites)
            if (site.part, site.index) == key
        ]
        total, largest = weights[0], weights[0]
        for weight in weights[1:]:
            total, largest = total + weight, torch.maximum(largest, weight)
        return largest / torch.where(total > 0, total, 1.0)

    def _weight(self, number: int, level: int, chunk: Chunk, call: Call) -> Tensor:
        """Return the weight of an adapter, (R, 1, h, w) if a mask makes it vary by position, else (1, 1, 1, 1)."""
        factor = self._factor(number, level, chunk, call)
        masks = self._inputs_for(call.target(chunk)).masks(number)
        if not masks:
            return torch.full((1, 1, 1, 1), factor, device=call.device)
        weight = _rows(masks[level], chunk.frames) * factor
        return weight if chunk.area is None else self._cut(weight, number, level, chunk.area)

    def _factor(self, number: int, level: int, chunk: Chunk, call: Call) -> float:
        if chunk.silent:
            return 0.0
        return call.weights[number][level] * self.uses[number].weights.of_side(chunk.side)

    def _cut(self, part: Tensor, number: int, level: int, area: Area) -> Tensor:
        height, width, top, left = (self.cell * side for side in area)
        stride = self.uses[number].adapter.network.config.strides[level]
        return crop_level(part, stride, (height, width, top, left))


def _rows(batch: Tensor, frames: tuple[int, ...]) -> Tensor:
    """Pick each picture's row; a batch of one is returned as it is."""
    if batch.shape[0] == 1 or not frames:
        return batch
    rows = [frame % batch.shape[0] for frame in frames]
    if rows == list(range(batch.shape[0])):
        return batch
    return batch.index_select(0, torch.tensor(rows, device=batch.device))


def _packed(parts: list[Tensor]) -> Tensor:
    """Stack the residuals of the prompts, (R or 1, C, h, w) each, into (prompts, R, C, h, w)."""
    if len(parts) == 1:
        return parts[0].unsqueeze(0)
    most = max(part.shape[0] for part in parts)
    return torch.stack([part.expand(most, -1, -1, -1) for part in parts])


def add_residual(h: Tensor, residual: Tensor, *, in_place: bool = True) -> Tensor:
    """Add a residual to the output of a block.

    Args:
        h: (chunks · pictures, C, H, W), chunk by chunk.
        residual: (K, R, C, H, W), see :meth:`ResidualComputer.residuals`.
        in_place: Write into ``h`` to save a copy; only if no other tensor shares its memory.

    Returns:
        The sum; ``h`` itself if written in place.
    """
    chunks, rows = residual.shape[:2]
    if residual.shape[-2:] != h.shape[-2:]:
        # Another patch, such as Kohya's deep shrink, has resized the feature map: resize the residual to match.
        resized = functional.interpolate(residual.flatten(0, 1), size=h.shape[-2:], mode="bilinear", antialias=True)
        residual = resized.unflatten(0, (chunks, rows)).to(h.dtype)
    if chunks == 1 and rows == 1:
        return h.add_(residual[0]) if in_place else h + residual[0]
    split: Tensor = h.unflatten(0, (chunks, -1) if chunks > 1 else (-1, rows))
    return split.add_(residual).flatten(0, 1) if in_place else (split + residual).flatten(0, 1)
