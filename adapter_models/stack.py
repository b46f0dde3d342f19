"""The engine: adapters applied to a model, and the residuals that they add at each site of its UNet."""

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
from .families import BlockKind
from .features import AdapterFeatures, check_range, crop_level
from .gains import Gains
from .hint import mask_levels
from .weights import Side

Size = tuple[int, int]
Area = tuple[int, int, int, int]  # height, width, top, left
Site = tuple[BlockKind, int]
# Sums that a run keeps ready. A step needs one for each way its calls are packed: seldom more than two.
READY_SUMS = 4


@dataclass(frozen=True)
class AdapterStack:
    """The adapters applied to a model, in the order of application; their order changes nothing but rounding.

    Attributes:
        uses: The adapters.
        combination: How they act together.

    Raises:
        AdapterError: They can't act together in this way.
    """

    uses: tuple[AppliedAdapter, ...] = ()
    combination: Combination = SUM

    def __post_init__(self) -> None:
        """Refuse what can't act together."""
        self.combination.check(self.uses)

    def with_use(self, use: AppliedAdapter) -> AdapterStack:
        """Return a stack with one more adapter."""
        return replace(self, uses=(*self.uses, use))


@dataclass(frozen=True)
class Chunk:
    """The pictures of one prompt within a call of the UNet.

    Attributes:
        size: Height and width of the whole latent.
        area: The part of it that this chunk shows, or None for all of it.
        frames: Number of each picture in the batch being made.
        side: Side of the guidance that the prompt is on.
        silent: Nothing is added for this prompt.
    """

    size: Size
    area: Area | None
    frames: tuple[int, ...]
    side: Side = "positive"
    silent: bool = False


@dataclass(frozen=True)
class Call:
    """What the residuals of one call of the UNet depend on; two equal calls share them.

    Attributes:
        chunks: The prompts that are packed into the call.
        weights: Factors of each adapter at this step, by level.
        device: Where the residuals are wanted.
        dtype: Precision of the UNet.
    """

    chunks: tuple[Chunk, ...]
    weights: tuple[tuple[float, ...], ...]
    device: torch.device
    dtype: torch.dtype


Residuals = dict[Site, Tensor]


@dataclass(eq=False)
class ResidualComputer:
    """The residuals of a stack during one sampling run. Dropped with the run.

    Attributes:
        uses: The adapters.
        cell: Size of a latent cell in pixels.
        pictures: Size of the batch being made.
        combination: How the adapters act together.
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
        """Refuse a batch of nothing."""
        if self.pictures < 1:
            raise _empty("a batch of 0 latents")

    def prepare(
        self, size: Size, device: torch.device, dtype: torch.dtype, load: Callable[[T2IAdapter | T2IFuser, int], None]
    ) -> None:
        """Compute the features of all adapters, one adapter after the other, and what a fuser says of them.

        Args:
            size: Height and width of the latent.
            device: Where the residuals will be wanted.
            dtype: Precision of the UNet.
            load: Called with what must compute, and with the bytes that this takes besides its weights.
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
        """Return what each site adds, computed once for equal calls.

        Args:
            call: What the UNet is about to be called with.

        Returns:
            For each site (K, R, C, h, w): K is 1 or the number of chunks, R is 1 or the pictures of a chunk. Read
            only: the same tensors are returned again.
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
        # Where all pictures get the same, and all prompts, one residual serves them all by broadcasting.
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
                key = (site.kind, site.index)
                sums[key] = part if key not in sums else sums[key] + part
        if self.combination.method == "mean":
            sums = {key: total * self._shares(key, call) for key, total in sums.items()}
        return {key: total.to(call.dtype) for key, total in sums.items()}

    def _shares(self, key: Site, call: Call) -> Tensor:
        """Return the largest weight at a site over the sum of all, (K, R, 1, h, w): what makes a sum a mean."""
        weights = [
            _packed([self._weight(number, level, chunk, call).abs() for chunk in call.chunks])
            for number, use in enumerate(self.uses)
            for level, site in enumerate(use.sites)
            if (site.kind, site.index) == key
        ]
        total, largest = weights[0], weights[0]
        for weight in weights[1:]:
            total, largest = total + weight, torch.maximum(largest, weight)
        return largest / torch.where(total > 0, total, 1.0)

    def _weight(self, number: int, level: int, chunk: Chunk, call: Call) -> Tensor:
        """Return the weight of an adapter, (R, 1, h, w) where a mask makes it differ by place, else (1, 1, 1, 1)."""
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
            check_range(use.adapter.about.name, features, dtype)
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
        """Return the style's tokens as the fuser makes them for a picture.

        Args:
            size: Height and width of the latent.
            device: Where they are wanted.
            dtype: Precision of the UNet, in which the features are computed.

        Returns:
            (1 or pictures, n, width) in full precision; None where no style takes part in a fuser.
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
    """Pick the row of each picture; a batch of one serves all as it is."""
    if batch.shape[0] == 1 or not frames:
        return batch
    rows = [frame % batch.shape[0] for frame in frames]
    if rows == list(range(batch.shape[0])):
        return batch
    return batch.index_select(0, torch.tensor(rows, device=batch.device))


def _packed(parts: list[Tensor]) -> Tensor:
    """Put what each prompt gets, (R or 1, C, h, w), into one (prompts, R, C, h, w)."""
    if len(parts) == 1:
        return parts[0].unsqueeze(0)
    most = max(part.shape[0] for part in parts)
    return torch.stack([part.expand(most, -1, -1, -1) for part in parts])


def add_residual(h: Tensor, residual: Tensor, *, in_place: bool = True) -> Tensor:
    """Add a residual to the output of a block.

    Args:
        h: (chunks · pictures, C, H, W), chunk by chunk.
        residual: (K, R, C, H, W), see :meth:`ResidualComputer.residuals`.
        in_place: Write into ``h``, which saves a copy of it; not where another tensor shares its memory.

    Returns:
        The sum; ``h`` itself where it was written into.
    """
    chunks, rows = residual.shape[:2]
    if residual.shape[-2:] != h.shape[-2:]:
        # Another patch has resized the whole feature map (Kohya's deep shrink): the residual follows it.
        resized = functional.interpolate(residual.flatten(0, 1), size=h.shape[-2:], mode="bilinear", antialias=True)
        residual = resized.unflatten(0, (chunks, rows)).to(h.dtype)
    if chunks == 1 and rows == 1:
        return h.add_(residual[0]) if in_place else h + residual[0]
    split: Tensor = h.unflatten(0, (chunks, -1) if chunks > 1 else (-1, rows))
    return split.add_(residual).flatten(0, 1) if in_place else (split + residual).flatten(0, 1)
