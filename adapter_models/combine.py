"""How several adapters combine: sum, weighted mean, or a CoAdapter fuser."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ..common.fingerprints import fingerprint
from .applied import AppliedAdapter
from .conditions import CONDITIONS, STYLE_TASK
from .errors import AdapterError, CorruptFileError, FamilyMismatchError
from .features import AdapterFeatures
from .fuser import CoAdapterFuser, FusedPart
from .gains import GainCache, Gains

Method = Literal["sum", "mean", "coadapter"]
METHODS: tuple[Method, ...] = ("sum", "mean", "coadapter")
# The fuser was trained with SD1.x adapters only; SDXL adapters have equal widths but other strides.
FUSED_STRIDES = (8, 16, 32, 64)
_WHERE = "combination"


@dataclass(eq=False)
class T2IFuser:
    """A CoAdapter fuser ready for use.

    Attributes:
        network: The network. Its weights keep the file's precision; layers cast as they compute.
        name: How the user names its file.
        patcher: The host's handle for managing the network's memory; this library never reads it.
        cache: Gains, keyed by the inputs they were computed from.
    """

    network: CoAdapterFuser
    name: str
    patcher: object = None
    cache: GainCache = field(default_factory=GainCache)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions it distinguishes."""
        tasks = self.network.config.tasks
        return tuple(row.name for row in CONDITIONS if row.task is not None and row.task < tasks)

    @torch.no_grad()
    def gains(
        self, uses: Sequence[AppliedAdapter], features: Sequence[AdapterFeatures], style: Tensor | None, pictures: int
    ) -> Gains:
        """Return the gains of adapters in full precision, from the cache or computed now.

        The fuser's input includes each adapter's strength and level weights. Schedules, ranges, sides and masks apply
        to the fused features later, so one run of the fuser serves the whole picture.

        Args:
            uses: The adapters, already checked by :meth:`Combination.check`.
            features: The features of each adapter.
            style: (1, n, width), tokens times their strength, or None.
            pictures: Size of the batch. Picture i uses row i modulo the number of rows.

        Returns:
            The gains, on the features' device.

        Raises:
            CorruptFileError: The network gives NaN or infinite gains.
        """
        device = features[0].levels[0].device
        batch, sources, key = self._key(uses, features, style, pictures)
        found = self.cache.get(sources, key)
        if found is not None:
            return found.to(device)
        parts = [_part(use, each, batch) for use, each in zip(uses, features, strict=True)]
        if style is not None:
            tokens = style.to(device, torch.float32).expand(batch, -1, -1)
            parts.append(FusedPart(STYLE_TASK, (tokens,)))
        gains = self._run(parts)
        self.cache.put(sources, key, gains)
        return gains

    def has_gains(
        self, uses: Sequence[AppliedAdapter], features: Sequence[AdapterFeatures], style: Tensor | None, pictures: int
    ) -> bool:
        """Tell whether the cache holds the result of :meth:`gains` for these arguments."""
        _, sources, key = self._key(uses, features, style, pictures)
        return self.cache.get(sources, key) is not None

    @staticmethod
    def _key(
        uses: Sequence[AppliedAdapter], features: Sequence[AdapterFeatures], style: Tensor | None, pictures: int
    ) -> tuple[int, list[object], Hashable]:
        """Return the batch size, the objects the gains are computed from, and the settings they depend on."""
        batch = pictures if any(each.levels[0].shape[0] > 1 for each in features) else 1
        sources: list[object] = []
        for use in uses:
            sources += [use.adapter, use.hint if use.source is None else use.source]
        sources += [] if style is None else [style]
        settings = tuple((use.fit, use.adapter.bgr, weights_of(use)) for use in uses)
        shapes = tuple((each.levels[0].dtype, tuple(each.levels[0].shape)) for each in features)
        # Compare contents too: the same tensors may have been written to since.
        contents = (*(each.content for each in features), b"" if style is None else fingerprint(style))
        return batch, sources, (batch, settings, shapes, contents)

    def _run(self, parts: Sequence[FusedPart]) -> Gains:
        found = self.network(parts)
        if not all(torch.isfinite(gain).all() for gains in found for gain in gains):
            raise CorruptFileError(
                self.name,
                "NaN or infinite gains",
                "finite ones",
                "Use another file.",
                says="The fuser's file is damaged.",
            )
        maps = tuple(
            tuple(gain[..., None, None] for gain in gains)
            for part, gains in zip(parts, found, strict=True)
            if not part.is_style
        )
        last = parts[-1]
        return Gains(maps, last.values[0] * found[-1][0] if last.is_style else None)


def weights_of(use: AppliedAdapter) -> tuple[float, ...]:
    """Return each level's weight before fusion."""
    return tuple(use.strength * level for level in use.weights.levels[: len(use.sites)])


def _part(use: AppliedAdapter, features: AdapterFeatures, batch: int) -> FusedPart:
    condition = use.adapter.info.condition
    task = None if condition is None else condition.task
    if task is None:
        raise FamilyMismatchError(
            _WHERE,
            f"{use.adapter.info.name}, of no known condition",
            "a checked stack",
            says="The fuser must know what each adapter is for, and this file does not tell.",
        )
    rows = torch.arange(batch, device=features.levels[0].device) % features.levels[0].shape[0]
    pairs = zip(features.levels, weights_of(use), strict=True)
    means = (level.mean((2, 3), dtype=torch.float32) * weight for level, weight in pairs)
    return FusedPart(task, tuple(mean.index_select(0, rows) for mean in means))


@dataclass(frozen=True, eq=False)
class Combination:
    """How the adapters of a model combine.

    Attributes:
        method: ``sum``: the sum of their residuals. ``mean``: their weighted mean times the largest weight, so that
            adapters of equal weight w give w times their plain average, a single adapter is unchanged, and one of
            weight 0 (by its strength, schedule or mask) has no effect. ``coadapter``: the sum, after the fuser has
            multiplied each channel of each adapter's features by a gain.
        fuser: The fuser, for ``coadapter``.
        style: Tokens of a style in the fuser times their strength, (1, n, width), or None.
    """

    method: Method = "sum"
    fuser: T2IFuser | None = None
    style: Tensor | None = None

    @property
    def fuses(self) -> T2IFuser | None:
        """The fuser if the method uses it, else None."""
        return self.fuser if self.method == "coadapter" else None

    def check(self, uses: Sequence[AppliedAdapter]) -> None:
        """Refuse adapters that can't be combined this way.

        Args:
            uses: The adapters.

        Raises:
            AdapterError: The message names the adapter and the fix.
        """
        if self.method != "coadapter":
            return
        if self.fuser is None:
            raise AdapterError(
                _WHERE,
                "method coadapter without a fuser",
                "one",
                "Give it a fuser, or choose sum or mean.",
                says="The method coadapter needs a fuser.",
                topic="no-fuser",
            )
        if self.style is not None and self.style.shape[-1] != self.fuser.network.config.width:
            width = self.fuser.network.config.width
            raise FamilyMismatchError(
                _WHERE,
                f"style tokens of width {self.style.shape[-1]}",
                f"{width}, as {self.fuser.name} takes",
                "Use a style adapter and a fuser for the same diffusion model.",
                says="The style and the fuser are for different diffusion models.",
            )
        seen: dict[str, str] = {}
        for use in uses:
            condition = _check_use(use, self.fuser)
            if condition in seen:
                raise AdapterError(
                    _WHERE,
                    f"two adapters of the condition {condition}: {seen[condition]} and {use.adapter.info.name}",
                    "one of each condition, which is how the fuser tells them apart",
                    "Apply one of them, or choose sum or mean.",
                    says=f"The fuser takes one adapter of each condition, and two are for {condition}.",
                )
            seen[condition] = use.adapter.info.name


def _check_use(use: AppliedAdapter, fuser: T2IFuser) -> str:
    """Return the condition of an adapter, or raise if the fuser can't take it."""
    config, info = use.adapter.network.config, use.adapter.info
    expected = fuser.network.config.channels
    if config.channels != expected or config.strides != FUSED_STRIDES:
        got = ", ".join(f"{width} (1/{cell})" for width, cell in zip(config.channels, config.strides, strict=True))
        wanted = ", ".join(f"{width} (1/{cell})" for width, cell in zip(expected, FUSED_STRIDES, strict=False))
        raise FamilyMismatchError(
            _WHERE,
            f"{info.name} with channels {got}",
            f"{wanted}, the SD1.x adapters that {fuser.name} was made for",
            "Choose the method sum or mean for this adapter.",
            says="The fuser is for full SD1.x adapters, and this adapter has another shape.",
        )
    known = ", ".join(name for name in fuser.conditions if name != "style")
    if info.condition is None:
        raise AdapterError(
            _WHERE,
            f"{info.name}, whose condition neither its name nor its metadata tells",
            f"one of {known}",
            "Name the file as it was published, such as coadapter-sketch-sd15v1, or write t2i_adapter.condition into "
            "its metadata.",
            says="The fuser must know what each adapter is for, and this file does not tell.",
        )
    if info.condition.name not in fuser.conditions or info.condition.name == "style":
        raise AdapterError(
            _WHERE,
            f"{info.name}, an adapter of the condition {info.condition.name}",
            f"one of {known}, which the fuser knows",
            "Choose the method sum or mean for this adapter.",
            says=f"The fuser was not trained with {info.condition.name} adapters.",
        )
    return info.condition.name


SUM = Combination()
