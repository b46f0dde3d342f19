"""T2I-Adapter Level Weights and T2I-Adapter Schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from comfy_api.input import CurveInput
from comfy_api.latest import io

from ..adapter_models.errors import AdapterError
from ..adapter_models.weights import INTERPOLATIONS, LEVEL_COUNT, LEVEL_PRESETS, NEUTRAL, UNITS, Schedule, Unit, Weights
from ..common.checks import check_choice
from .inputs import checked, read_input, shown
from .search_words import search_words
from .sockets import WeightsSocket

_LEVEL_WEIGHTS = "T2I-Adapter Level Weights"
_SCHEDULE = "T2I-Adapter Schedule"
_CUSTOM = "custom"
_DETAILS = ("finest: textures and edges", "fine: small shapes", "coarse: large shapes", "coarsest: composition")


class T2IAdapterWeights(io.ComfyNode):
    """Set weights for an adapter's levels and for the two sides of the guidance."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        presets = [io.DynamicCombo.Option(preset.name, []) for preset in LEVEL_PRESETS]
        side = {"default": 1.0, "min": 0.0, "max": 10.0, "step": 0.05}
        return io.Schema(
            node_id="T2IAdapterWeights",
            display_name=_LEVEL_WEIGHTS,
            category="T2I-Adapter",
            description="Choose which scales of the picture an adapter acts on, and how much on the positive and the "
            "negative prompt. Costs nothing per step.",
            search_aliases=search_words("T2IAdapterWeights"),
            inputs=[
                io.DynamicCombo.Input(
                    "preset",
                    options=[*presets, io.DynamicCombo.Option(_CUSTOM, _level_inputs())],
                    tooltip="uniform (default): as trained. soft (prompt first): the fine levels act less, so that the "
                    "prompt decides details. coarse only: composition without details. fine only: details without "
                    "composition. custom: a factor for each level.",
                ),
                io.Float.Input(
                    "positive",
                    advanced=True,
                    tooltip="Factor of the strength for the positive prompt, 0 to 10, default 1. 0: the adapter leaves "
                    "it alone.",
                    **side,
                ),
                io.Float.Input(
                    "negative",
                    tooltip="Factor of the strength for the negative prompt, 0 to 10. 0 makes the adapter count more "
                    "(ControlNet is more important), 1 (default) is as trained.",
                    **side,
                ),
                WeightsSocket.Input(
                    "weights", optional=True, tooltip="Other weights, multiplied in: schedule and levels act together."
                ),
            ],
            outputs=[WeightsSocket.Output("weights", tooltip="For Apply T2I-Adapter.")],
            # Without this, ComfyUI drops a preset that it does not know or that comes by a link, and its inputs.
            accept_all_inputs=True,
        )

    @classmethod
    @checked
    def execute(
        cls,
        preset: Mapping[str, Any] | str = LEVEL_PRESETS[0].name,
        positive: float = 1.0,
        negative: float = 1.0,
        weights: Weights | None = None,
        **others: Any,
    ) -> io.NodeOutput:
        """Make the weights."""
        own = Weights(_levels(preset, others), positive, negative)
        return io.NodeOutput(own.times(weights or NEUTRAL))


def _level_inputs() -> list[Any]:
    return [
        io.Float.Input(
            f"level_{number}",
            default=1.0,
            min=-10.0,
            max=10.0,
            step=0.05,
            tooltip=f"Factor of the strength on level {number} of {LEVEL_COUNT}, the {detail}. -10 to 10, default 1; 0 "
            "turns the level off.",
        )
        for number, detail in enumerate(_DETAILS, start=1)
    ]


def _levels(preset: Mapping[str, Any] | str, others: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the levels of a preset.

    Args:
        preset: Name and inputs of the preset; only the name if it came by a link.
        others: Inputs of the preset that ComfyUI passes separately, such as ``preset.level_1``, if the name came by a
            link.
    """
    if not isinstance(preset, Mapping):
        own = {name.partition(".")[2]: value for name, value in others.items()}
        preset = {**own, "preset": preset}
    name = preset.get("preset")
    known = {row.name: row.levels for row in LEVEL_PRESETS}
    check_choice(f"{_LEVEL_WEIGHTS}, preset", name, [*known, _CUSTOM], error=AdapterError)
    if name != _CUSTOM:
        return known[name]
    rows = _level_inputs()
    return tuple(read_input(f"{_LEVEL_WEIGHTS}, {row.id}", row, preset.get(row.id, row.default)) for row in rows)


class T2IAdapterSchedule(io.ComfyNode):
    """Change an adapter's strength over time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAdapterSchedule",
            display_name=_SCHEDULE,
            category="T2I-Adapter",
            description="Change an adapter's strength during sampling. The first third decides the composition; the "
            "end only details.",
            search_aliases=search_words(
                "T2IAdapterSchedule", "keyframe", "timestep", "fade", "curve", "strength over time", "cond_tau"
            ),
            inputs=_schedule_inputs(),
            outputs=[WeightsSocket.Output("weights", tooltip="For Apply T2I-Adapter.")],
        )

    @classmethod
    @checked
    def execute(
        cls,
        start_strength: float = 1.0,
        end_strength: float = 1.0,
        interpolation: str = "constant",
        start_percent: float = 0.0,
        end_percent: float = 1.0,
        unit: Unit = UNITS[0],
        curve: Any = None,
        weights: Weights | None = None,
    ) -> io.NodeOutput:
        """Make the weights."""
        schedule = Schedule(
            start_strength,
            end_strength,
            interpolation,
            start_percent,
            end_percent,
            unit,
            None if curve is None else _curve(curve),
        )
        return io.NodeOutput(Weights(schedules=(schedule,)).times(weights or NEUTRAL))


def _curve(curve: Any) -> Callable[[float], float]:
    """Return a curve from another node or the API as a function of percent to strength."""
    try:
        return CurveInput.from_raw(curve).interp  # type: ignore[no-any-return]
    except (TypeError, ValueError, LookupError, OverflowError, RuntimeError) as error:
        expected = "points of percent and strength, as [[0, 1], [1, 0]]"
        fix, says = "Connect a node that makes curves.", "The curve has no points of percent and strength."
        raise AdapterError(f"{_SCHEDULE}, curve", shown(curve), expected, fix, says=says) from error


def _schedule_inputs() -> list[Any]:
    strength = {"default": 1.0, "min": -10.0, "max": 10.0, "step": 0.05}
    return [
        io.Float.Input(
            "start_strength",
            tooltip="Factor of the strength at the beginning, -10 to 10, default 1.",
            **strength,
        ),
        io.Float.Input("end_strength", tooltip="Factor of the strength at the end, -10 to 10, default 1.", **strength),
        io.Combo.Input(
            "interpolation",
            options=[row.name for row in INTERPOLATIONS],
            default=INTERPOLATIONS[0].name,
            tooltip="How the strength changes from start to end. constant (default): stays at start_strength. linear: "
            "evenly. ease in: slowly at first. ease out: slowly at the end. ease in-out: slowly at both ends.",
        ),
        *_range_inputs(),
        # Socket only: the classic frontend can't edit curves.
        io.MultiType.Input(
            "curve",
            types=[io.Curve],
            optional=True,
            extra_dict={"forceInput": True},
            tooltip="A curve of the strength: x is the percent, y the factor. Replaces strengths and interpolation.",
        ),
        WeightsSocket.Input(
            "weights", optional=True, tooltip="Other weights, multiplied in: schedule and levels act together."
        ),
    ]


def _range_inputs() -> list[Any]:
    percent = {"min": 0.0, "max": 1.0, "step": 0.01}
    return [
        io.Float.Input(
            "start_percent",
            default=0.0,
            tooltip="Where it begins, 0 (default) to 1. Before, the adapter does nothing.",
            **percent,
        ),
        io.Float.Input(
            "end_percent",
            default=1.0,
            tooltip="Where it ends, 0 to 1 (default). After, the adapter does nothing.",
            **percent,
        ),
        io.Combo.Input(
            "unit",
            options=list(UNITS),
            default=UNITS[0],
            advanced=True,
            tooltip="What the percents count. noise schedule (default): as other ComfyUI nodes. sampling "
            "steps: parts of this run, also of image to image with a low denoise.",
        ),
    ]
