"""The inputs of a run's residuals, for one target: a latent size, a device and a precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .applied import AppliedAdapter
from .bounds import check_strengths, peaks_of
from .combine import Combination
from .errors import AdapterError
from .features import AdapterFeatures, check_range
from .gains import Gains
from .hint import mask_levels

LatentSize = tuple[int, int]


@dataclass(frozen=True)
class Target:
    """Where the residuals of a run are added; everything computed for a run is kept by this key.

    Attributes:
        size: Height and width of the whole latent.
        device: Device of the UNet.
        dtype: Precision of the UNet.
    """

    size: LatentSize
    device: torch.device
    dtype: torch.dtype


@dataclass(eq=False)
class TargetInputs:
    """Features, masks and gains of a stack for one target, each computed at its first use.

    Attributes:
        uses: The adapters.
        combination: How they combine.
        target: Where the residuals are added.
        cell: Size of a latent cell in pixels.
        pictures: Size of the generated batch.
    """

    uses: tuple[AppliedAdapter, ...]
    combination: Combination
    target: Target
    cell: int
    pictures: int
    _features: dict[int, AdapterFeatures] = field(default_factory=dict)
    _masks: dict[int, list[Tensor]] = field(default_factory=dict)
    _peaks: dict[int, tuple[float, ...]] = field(default_factory=dict)
    _gains: Gains | None = None

    @property
    def pixels(self) -> LatentSize:
        """Height and width of the generated picture in pixels."""
        height, width = self.target.size
        return height * self.cell, width * self.cell

    def has_features(self, number: int) -> bool:
        """Tell whether an adapter's cache holds its features for this target."""
        use = self.uses[number]
        return use.adapter.has_features(
            use.hint, self.pictures, self.pixels, use.fit, dtype=self.target.dtype, source=use.source
        )

    def features(self, number: int) -> AdapterFeatures:
        """Return the features of an adapter.

        Raises:
            AdapterError: The latent is empty, or the features overflow the UNet's precision.
        """
        if number not in self._features:
            height, width = self.target.size
            if 0 in (height, width):
                raise empty_batch(f"a latent of {width}×{height} cells")
            use, dtype = self.uses[number], self.target.dtype
            found = use.adapter.features(
                use.hint,
                self.pictures,
                self.pixels,
                use.fit,
                device=self.target.device,
                dtype=dtype,
                source=use.source,
            )
            check_range(use.adapter.info.name, found, dtype)
            self._features[number] = found
        return self._features[number]

    def all_features(self) -> list[AdapterFeatures]:
        """Return the features of every adapter, in the order of the stack."""
        return [self.features(number) for number in range(len(self.uses))]

    def masks(self, number: int) -> list[Tensor]:
        """Return an adapter's mask, one (M, 1, h, w) per level; an empty list without a mask."""
        use = self.uses[number]
        if use.mask is None:
            return []
        if number not in self._masks:
            mask, strides = use.mask.to(self.target.device), use.adapter.network.config.strides
            self._masks[number] = mask_levels(mask, self.pixels, use.fit, strides)
        return self._masks[number]

    def has_gains(self) -> bool:
        """Tell whether the fuser's cache holds the gains for this target; False without a fuser."""
        fuser, style = self.combination.fuses, self.combination.style
        return fuser is not None and fuser.has_gains(self.uses, self.all_features(), style, self.pictures)

    def gains(self) -> Gains | None:
        """Return the fuser's gains; None without a fuser."""
        fuser = self.combination.fuses
        if fuser is not None and self._gains is None:
            self._gains = fuser.gains(self.uses, self.all_features(), self.combination.style, self.pictures)
        return self._gains

    def check_strengths(self, factors: Sequence[Sequence[float]]) -> None:
        """Refuse strengths whose residuals overflow the UNet's precision.

        Args:
            factors: Each adapter's factor per level: the product of strength, weights and schedule.

        Raises:
            AdapterError: A block would overflow.
        """
        dtypes = [features.levels[0].dtype for features in self.all_features()]
        peaks = [self._peaks_of(number) for number in range(len(self.uses))]
        mean = self.combination.method == "mean"
        check_strengths(self.uses, factors, peaks, dtypes, self.target.dtype, mean=mean)

    def _peaks_of(self, number: int) -> tuple[float, ...]:
        if number not in self._peaks:
            peaks = peaks_of(self.features(number).levels)
            gains = self.gains()
            if gains is not None:
                peaks = tuple(a * b for a, b in zip(peaks, peaks_of(gains.maps[number]), strict=True))
            self._peaks[number] = peaks
        return self._peaks[number]


def empty_batch(got: str) -> AdapterError:
    """Return the error for a run that generates no picture."""
    return AdapterError(
        "latent",
        got,
        "at least one picture to make",
        says="The latent is empty, so there is no picture to make.",
        topic="latent",
    )
