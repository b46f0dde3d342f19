"""Any numbers and names of a schedule give finite strengths in its range, or a clear error."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from t2i_adapter_pack.adapter_models.errors import AdapterError
from t2i_adapter_pack.adapter_models.weights import INTERPOLATIONS, LEVEL_COUNT, UNITS, Moment, Schedule, Weights

from .engine import SHORT

shares = st.one_of(st.floats(0, 1), st.floats(), st.sampled_from((0.0, 1.0, 0.5, 5e-324, 1 - 2**-53)))
inside = st.floats(0, 1)
strengths = st.floats(-10, 10)
interpolations = st.one_of(st.sampled_from([row.name for row in INTERPOLATIONS]), st.text(max_size=8))
units = st.one_of(st.sampled_from(UNITS), st.text(max_size=8))
moments = st.builds(Moment, inside, inside)
schedules = st.builds(
    lambda start, end, name, places, unit: Schedule(start, end, name, min(places), max(places), unit),
    strengths,
    strengths,
    st.sampled_from([row.name for row in INTERPOLATIONS]),
    st.tuples(inside, inside),
    st.sampled_from(UNITS),
)


@SHORT
@given(strengths, strengths, interpolations, shares, shares, units, moments)
def test_any_schedule_stays_between_its_strengths_or_is_refused(start, end, name, begins, ends, unit, moment):
    try:
        schedule = Schedule(start, end, name, begins, ends, unit)
    except AdapterError as error:
        assert error.says
        assert "\nschedule: got " in str(error)
        return
    strength = schedule.strength(moment)
    assert math.isfinite(strength)
    assert min(start, end, 0.0) - 1e-9 <= strength <= max(start, end, 0.0) + 1e-9
    if not begins <= moment.at(unit) <= ends:
        assert strength == 0


@SHORT
@given(st.lists(schedules, max_size=4), st.lists(strengths, min_size=LEVEL_COUNT, max_size=LEVEL_COUNT), moments)
def test_weights_multiply(chosen, levels, moment):
    alone = Weights(tuple(levels), schedules=())
    both = alone.times(Weights(schedules=tuple(chosen)))
    factor = math.prod(schedule.strength(moment) for schedule in chosen)
    for got, level in zip(both.at(moment), levels, strict=True):
        assert math.isclose(got, level * factor, rel_tol=1e-12)
    assert both.changes == bool(chosen)
