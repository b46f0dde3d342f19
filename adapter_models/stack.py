"""The engine: adapters applied to a model, and the residuals they add at each site of its UNet."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from .adapter import T2IAdapter
from .applied import AppliedAdapter
from .bounds import check_strengths, peaks_of
from .combine import SUM, Combination, T2IFuser
from .errors import AdapterError
from .families import BlockPart
from .features import AdapterFeatures, check_range, crop_level
from .gains import Gains
from .hint import mask_levels
from .weights import Side

Size = tuple[int, int]
Area = tuple[int, int, int, int]  # height, width, top, left
Site = tuple[BlockPart, int]
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


@dataclass(frozen=True)
class Chunk:
    """The pictures of one prompt within a call of the UNet.

    Attributes:
        size: Height and width of the whole latent.
        area: The part of the latent this chunk covers, or None for all of it.
        frames: Index of each picture in the generated batch.
        side: Whether the prompt is positive or negative.
        silent: Add nothing for this prompt.
    """

    size: Size
    area: Area | None
    frames: tuple[int, ...]
    side: Side = "positive"
    silent: bool = False


@dataclass(frozen=True)
class Call:
    """Everything the residuals of one UNet call depend on; equal calls share residuals.

    Attributes:
        chunks: The prompts packed into the call.
        weights: Factors of each adapter at this step, by level.
        device: Where to return the residuals.
        dtype: Precision of the UNet.
    """

    chunks: tuple[Chunk, ...]
    weights: tuple[tuple[float, ...], ...]
    device: torch.device
    dtype: torch.dtype


Residuals = dict[Site, Tensor]


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
    _ready: OrderedDict[Call, Residuals] = field(default_factory=OrderedDict)
    _features: dict[tuple[int, Size, torch.device, torch.dtype], AdapterFeatures] = field(default_factory=dict)
    _masks: dict[tuple[int, Size, torch.device], list[Tensor]] = field(default_factory=dict)
    _gains: dict[tuple[Size, torch.device, torch.dtype], Gains] = field(default_factory=dict)
    _peaks: dict[tuple[int, Size, torch.device, torch.dtype], tuple[float, ...]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Refuse an empty batch."""
        if self.pictures < 1:
            raise _empty("a batch of 0 latents")

    def prepare(
        self, size: Size, device: torch.device, dtype: torch.dtype, load: Callable[[T2IAdapter | T2IFuser, int], None]
    ) -> None:
        """Compute the features of all adapters, one adapter after another, and a fuser's gains.

        Args:
            size: Height and width of the latent.
            device: Where the residuals will be used.
            dtype: Precision of the UNet.
            load: Called with the networks that must compute, and the bytes they need besides their weights.
        """
        pixels = self._pixels(size)
        for number, use in enumerate(self.uses):
            adapter = use.adapter
            known = adapter.has_features(use.hint, self.pictures, pixels, use.fit, dtype=dtype, source=use.source)
            if not known and 0 not in size:
                load(adapter, adapter.forward_bytes(min(self.pictures, use.hint.shape[0]), pixels, dtype))
            self._features_of(number, size, device, dtype)
        fuser = self.combination.fuses
        if fuser is not None:
            features = [self._features_of(number, size, device, dtype) for number in range(len(self.uses))]
            if not fuser.has_gains(self.uses, features, self.combination.style, self.pictures):
                load(fuser, 0)
            self._gains_of(size, device, dtype)
        largest = [[abs(use.strength) * factor for factor in use.weights.largest] for use in self.uses]
        self._check_strengths(largest, size, device, dtype)

    def _check_strengths(
        self, factors: Sequence[Sequence[float]], size: Size, device: torch.device, dtype: torch.dtype
    ) -> None:
        kinds = [self._features_of(number, size, device, dtype).levels[0].dtype for number in range(len(self.uses))]
        peaks = [self._peaks_of(number, size, device, dtype) for number in range(len(self.uses))]
        check_strengths(self.uses, factors, peaks, kinds, dtype, mean=self.combination.method == "mean")

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
            self._check_strengths(factors, chunk.size, call.device, call.dtype)
        sums: Residuals = {}
        for number, use in enumerate(self.uses):
            for level, site in enumerate(use.sites):
                parts = [self._part(number, level, chunk, call) for chunk in call.chunks]
                part = _packed(parts)
                key = (site.part, site.index)
                sums[key] = part if key not in sums else sums[key] + part
        if self.combination.method == "mean":
            sums = {key: total * self._shares(key, call) for key, total in sums.items()}
        return {key: total.to(call.dtype) for key, total in sums.items()}

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
        masks = self._masks_of(number, chunk.size, call.device)
        if not masks:
            return torch.full((1, 1, 1, 1), factor, device=call.device)
        weight = _rows(masks[level], chunk.frames) * factor
        return weight if chunk.area is None else self._cut(weight, number, level, chunk.area)

    def _part(self, number: int, level: int, chunk: Chunk, call: Call) -> Tensor:
        features = self._features_of(number, chunk.size, call.device, call.dtype)
        part = _rows(features.levels[level], chunk.frames)
        gains = self._gains_of(chunk.size, call.device, call.dtype)
        if gains is not None:
            part = part * _rows(gains.maps[number][level], chunk.frames)
        masks = self._masks_of(number, chunk.size, call.device)
        if masks:
            part = part * _rows(masks[level], chunk.frames).to(part.dtype)
        if chunk.area is not None:
            part = self._cut(part, number, level, chunk.area)
        factor = self._factor(number, level, chunk, call)
        return part if factor == 1.0 else part * factor

    def _factor(self, number: int, level: int, chunk: Chunk, call: Call) -> float:
        if chunk.silent:
            return 0.0
        return call.weights[number][level] * self.uses[number].weights.of_side(chunk.side)

    def _features_of(self, number: int, size: Size, device: torch.device, dtype: torch.dtype) -> AdapterFeatures:
        key = (number, size, device, dtype)
        if key not in self._features:
            if 0 in size:
                raise _empty(f"a latent of {size[1]}×{size[0]} cells")
            use = self.uses[number]
            features = use.adapter.features(
                use.hint, self.pictures, self._pixels(size), use.fit, device=device, dtype=dtype, source=use.source
            )
            check_range(use.adapter.info.name, features, dtype)
            self._features[key] = features
        return self._features[key]

    def _peaks_of(self, number: int, size: Size, device: torch.device, dtype: torch.dtype) -> tuple[float, ...]:
        key = (number, size, device, dtype)
        if key not in self._peaks:
            peaks = peaks_of(self._features_of(number, size, device, dtype).levels)
            gains = self._gains_of(size, device, dtype)
            if gains is not None:
                peaks = tuple(a * b for a, b in zip(peaks, peaks_of(gains.maps[number]), strict=True))
            self._peaks[key] = peaks
        return self._peaks[key]

    def _gains_of(self, size: Size, device: torch.device, dtype: torch.dtype) -> Gains | None:
        fuser = self.combination.fuses
        if fuser is None:
            return None
        key = (size, device, dtype)
        if key not in self._gains:
            features = [self._features_of(number, size, device, dtype) for number in range(len(self.uses))]
            self._gains[key] = fuser.gains(self.uses, features, self.combination.style, self.pictures)
        return self._gains[key]

    def fused_style(self, size: Size, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        """Return the style's tokens as weighed by the fuser.

        Args:
            size: Height and width of the latent.
            device: Where to return them.
            dtype: Precision of the UNet, in which the features are computed.

        Returns:
            (1 or pictures, n, width) in full precision; None if no style goes through a fuser.
        """
        if self.combination.style is None:
            return None
        with self._lock:
            gains = self._gains_of(size, device, dtype)
        return None if gains is None else gains.style

    def _cut(self, part: Tensor, number: int, level: int, area: Area) -> Tensor:
        height, width, top, left = (self.cell * side for side in area)
        stride = self.uses[number].adapter.network.config.strides[level]
        return crop_level(part, stride, (height, width, top, left))

    def _masks_of(self, number: int, size: Size, device: torch.device) -> list[Tensor]:
        use = self.uses[number]
        if use.mask is None:
            return []
        key = (number, size, device)
        if key not in self._masks:
            strides = use.adapter.network.config.strides
            self._masks[key] = mask_levels(use.mask.to(device), self._pixels(size), use.fit, strides)
        return self._masks[key]

    def _pixels(self, size: Size) -> Size:
        return size[0] * self.cell, size[1] * self.cell


def _empty(got: str) -> AdapterError:
    return AdapterError(
        "Apply T2I-Adapter", got, "at least one picture to make", "Check the node that makes the latent."
    )


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
