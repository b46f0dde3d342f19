"""Level weights, sides of the guidance, and schedules."""

import math

import pytest
from t2i_adapter_pack.adapter_models.errors import AdapterError
from t2i_adapter_pack.adapter_models.weights import INTERPOLATIONS, LEVEL_PRESETS, NEUTRAL, Moment, Schedule, Weights


def moments(count):
    """A run over the whole schedule, step by step."""
    return [Moment(step / count, step / count) for step in range(count)]


def strengths(schedule, count=4):
    return [schedule.strength(moment) for moment in moments(count)]


def test_neutral_weights_change_nothing():
    assert NEUTRAL.at(Moment(0.3, 0.7)) == (1.0, 1.0, 1.0, 1.0)
    assert NEUTRAL.of_side("positive") == NEUTRAL.of_side("negative") == 1.0
    assert not NEUTRAL.changes


def test_every_preset_has_four_levels_and_a_name_of_its_own():
    assert all(len(preset.levels) == 4 for preset in LEVEL_PRESETS)
    assert len({preset.name for preset in LEVEL_PRESETS}) == len(LEVEL_PRESETS)


def test_the_soft_preset_grows_from_fine_to_coarse():
    levels = {preset.name: preset.levels for preset in LEVEL_PRESETS}["soft (prompt first)"]
    assert levels == (0.25, 0.62, 0.825, 1.0)


def test_weights_multiply_together():
    first = Weights((1.0, 2.0, 3.0, 4.0), 0.5, 2.0, (Schedule(0.5, 0.5),))
    second = Weights((2.0, 2.0, 0.0, -1.0), 3.0, 0.25, (Schedule(4.0, 4.0),))
    both = first.times(second)
    assert both.at(Moment(0.0, 0.0)) == (4.0, 8.0, 0.0, -8.0)
    assert (both.positive, both.negative) == (1.5, 0.5)
    assert both.changes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [2.0, 2.0, 2.0, 2.0]),
        ("linear", [2.0, 1.5, 1.0, 0.5]),
        ("ease in", [2.0, 1.875, 1.5, 0.875]),
        ("ease out", [2.0, 1.125, 0.5, 0.125]),
        ("ease in-out", [2.0, 1.6875, 1.0, 0.3125]),
    ],
)
def test_interpolations_go_from_start_to_end(name, expected):
    assert strengths(Schedule(2.0, 0.0, name)) == pytest.approx(expected)


def test_every_interpolation_begins_at_the_start_and_all_but_constant_end_at_the_end():
    for row in INTERPOLATIONS:
        assert row.share(0.0) == 0.0
        assert row.share(1.0) == (0.0 if row.name == "constant" else 1.0)


@pytest.mark.parametrize("unit", ["noise schedule", "sampling steps"])
def test_outside_its_range_a_schedule_is_zero(unit):
    schedule = Schedule(3.0, 3.0, "constant", 0.25, 0.5, unit)
    inside = [3.0, 3.0] if unit == "noise schedule" else [3.0, 0.0]
    assert strengths(schedule) == [0.0, *inside, 0.0]


def test_half_of_the_steps_is_half_of_the_steps():
    schedule = Schedule(end_percent=0.5, unit="sampling steps")
    for count in (2, 8, 20):
        assert sum(strengths(schedule, count)) == count / 2


def test_the_last_step_belongs_to_a_range_that_ends_at_one():
    assert strengths(Schedule(start_percent=0.5, unit="sampling steps")) == [0.0, 0.0, 1.0, 1.0]


def test_the_units_look_at_their_own_place():
    late = Moment(percent=0.9, step=0.1)
    assert Schedule(end_percent=0.5, unit="noise schedule").strength(late) == 0.0
    assert Schedule(end_percent=0.5, unit="sampling steps").strength(late) == 1.0


def test_a_curve_replaces_strengths_and_interpolation_but_keeps_the_range():
    schedule = Schedule(9.0, 9.0, "linear", 0.25, 0.75, curve=lambda x: 10 * x)
    assert strengths(schedule) == [0.0, 2.5, 5.0, 7.5]


def test_a_range_of_no_length_is_one_moment():
    assert strengths(Schedule(2.0, 0.0, "linear", 0.5, 0.5)) == [0.0, 0.0, 2.0, 0.0]


@pytest.mark.parametrize(
    "values",
    [
        {"start_percent": 0.6, "end_percent": 0.5},
        {"start_percent": -0.1},
        {"end_percent": 1.5},
        {"interpolation": "bouncy"},
        {"unit": "seconds"},
    ],
)
def test_what_means_nothing_is_refused(values):
    with pytest.raises(AdapterError, match="schedule: got"):
        Schedule(**values)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_refused(value):
    for make in (
        lambda: Schedule(start_strength=value),
        lambda: Schedule(end_strength=value),
        lambda: Weights(levels=(1.0, value, 1.0, 1.0)),
        lambda: Weights(negative=value),
    ):
        with pytest.raises(AdapterError, match=f"got {value}; expected a number"):
            make()
