"""Factors of an adapter's strength: by level, by side of the guidance, and over time. They multiply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..common.checks import check_choice, check_finite
from .errors import AdapterError

Unit = Literal["noise schedule", "sampling steps"]
UNITS: tuple[Unit, ...] = ("noise schedule", "sampling steps")
Side = Literal["positive", "negative"]
LEVEL_COUNT = 4
# Intervals at whose ends a curve is sampled before a run.
CURVE_PLACES = 128


@dataclass(frozen=True)
class LevelPreset:
    """A named set of level weights, fine to coarse."""

    name: str
    levels: tuple[float, ...]


# "soft" comes from sd-webui-controlnet's "my prompt is more important".
LEVEL_PRESETS = (
    LevelPreset("uniform", (1.0, 1.0, 1.0, 1.0)),
    LevelPreset("soft (prompt first)", (0.25, 0.62, 0.825, 1.0)),
    LevelPreset("coarse only", (0.0, 0.0, 1.0, 1.0)),
    LevelPreset("fine only", (1.0, 1.0, 0.0, 0.0)),
)


@dataclass(frozen=True)
class Interpolation:
    """An interpolation from the first strength to the last: x in [0, 1] -> the fraction reached."""

    name: str
    share: Callable[[float], float]


INTERPOLATIONS = (
    Interpolation("constant", lambda x: 0.0),
    Interpolation("linear", lambda x: x),
    Interpolation("ease in", lambda x: x * x),
    Interpolation("ease out", lambda x: x * (2.0 - x)),
    Interpolation("ease in-out", lambda x: x * x * (3.0 - 2.0 * x)),
)


@dataclass(frozen=True)
class Moment:
    """The position of a UNet call in a run.

    Attributes:
        percent: Position in the model's noise schedule: 0 is the highest noise, 1 is none.
        step: Position in this run's sampling steps: 0 is the first, (n - 1) / n the last of n.
    """

    percent: float
    step: float

    def at(self, unit: Unit) -> float:
        """Return the position in one of the units."""
        return self.percent if unit == "noise schedule" else self.step


@dataclass(frozen=True)
class Schedule:
    """Strength over time.

    Attributes:
        start_strength: Strength where it begins.
        end_strength: Strength where it ends.
        interpolation: Name of a row of :data:`INTERPOLATIONS`.
        start_percent: Where it begins; the adapter does nothing before.
        end_percent: Where it ends; the adapter does nothing after.
        unit: What the percents measure: the noise schedule or the sampling steps.
        curve: Strength over the percent in [0, 1]; replaces strengths and interpolation.
    """

    start_strength: float = 1.0
    end_strength: float = 1.0
    interpolation: str = "constant"
    start_percent: float = 0.0
    end_percent: float = 1.0
    unit: Unit = "noise schedule"
    curve: Callable[[float], float] | None = None

    def __post_init__(self) -> None:
        """Refuse values without meaning, such as NaN."""
        if not 0.0 <= self.start_percent <= self.end_percent <= 1.0:
            raise AdapterError(
                "schedule",
                f"percents {self.start_percent} to {self.end_percent}",
                "0 <= start <= end <= 1",
                "Swap or clip them.",
                says="The schedule ends before it starts, or lies outside 0 to 1.",
            )
        check_finite("schedule", self.start_strength, self.end_strength, error=AdapterError)
        check_choice("schedule", self.interpolation, (row.name for row in INTERPOLATIONS), error=AdapterError)
        check_choice("schedule", self.unit, UNITS, error=AdapterError)
        check_finite("schedule, curve", *self._places(), error=AdapterError)

    @property
    def largest(self) -> float:
        """The largest absolute strength at any time; a curve is sampled."""
        return max(map(abs, self._places() or (self.start_strength, self.end_strength)))

    def _places(self) -> tuple[float, ...]:
        if self.curve is None:
            return ()
        length = (self.end_percent - self.start_percent) / CURVE_PLACES
        return tuple(float(self.curve(self.start_percent + number * length)) for number in range(CURVE_PLACES + 1))

    def strength(self, moment: Moment) -> float:
        """Return the strength at a moment; 0 outside the range."""
        place = moment.at(self.unit)
        # A step lasts from its position to the next, so a range ends before the step that starts at its end.
        ended = place >= self.end_percent if self.unit == "sampling steps" else place > self.end_percent
        if place < self.start_percent or (ended and self.end_percent < 1.0):
            return 0.0
        if self.curve is not None:
            return float(self.curve(place))
        length = self.end_percent - self.start_percent
        share = {row.name: row.share for row in INTERPOLATIONS}[self.interpolation]
        done = share((place - self.start_percent) / length if length > 0 else 0.0)
        return self.start_strength + (self.end_strength - self.start_strength) * done


@dataclass(frozen=True)
class Weights:
    """Factors of an adapter's strength.

    Attributes:
        levels: Factor of each level, fine to coarse; the same meaning for SD and SDXL. Adapters with fewer levels use
            the first ones.
        positive: Factor for positive prompts.
        negative: Factor for the negative prompt.
        schedules: Factors over time, multiplied.
    """

    levels: tuple[float, ...] = (1.0,) * LEVEL_COUNT
    positive: float = 1.0
    negative: float = 1.0
    schedules: tuple[Schedule, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values without meaning, such as NaN."""
        check_finite("weights", *self.levels, self.positive, self.negative, error=AdapterError)

    def times(self, other: Weights) -> Weights:
        """Return the product of two weights."""
        return Weights(
            tuple(a * b for a, b in zip(self.levels, other.levels, strict=True)),
            self.positive * other.positive,
            self.negative * other.negative,
            self.schedules + other.schedules,
        )

    @property
    def changes(self) -> bool:
        """Whether the strength changes over time."""
        return bool(self.schedules)

    @property
    def largest(self) -> tuple[float, ...]:
        """The largest absolute factor of each level, on either side and at any time."""
        factor = max(abs(self.positive), abs(self.negative))
        for schedule in self.schedules:
            factor *= schedule.largest
        return tuple(abs(level) * factor for level in self.levels)

    def of_side(self, side: Side) -> float:
        """Return the factor of one side of the guidance."""
        return self.positive if side == "positive" else self.negative

    def at(self, moment: Moment) -> tuple[float, ...]:
        """Return each level's factor at a moment, without the factor of the side."""
        factor = 1.0
        for schedule in self.schedules:
            factor *= schedule.strength(moment)
        return tuple(level * factor for level in self.levels)


NEUTRAL = Weights()
