"""Statistics of the benchmarks."""

import pytest
from t2i_adapter_pack.dev.benchmarks import measure, report


def test_every_variant_runs_at_every_position():
    seen = []
    turns = {name: lambda name=name: seen.append(name) or 1.0 for name in "abc"}
    found = measure.interleave(turns, measure.Patience(6, 6, 0.0))
    assert [len(each) for each in found.values()] == [6, 6, 6]
    rounds = ["".join(seen[start : start + 3]) for start in range(0, 18, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len(set(rounds)) == 6


def test_measuring_stops_when_the_ratio_is_precise():
    turns = {"a": lambda: 2.0, "b": lambda: 1.0}
    found = measure.interleave(turns, measure.Patience(8, 50, 60.0, 0.01), [("a", "b")])
    assert len(found["a"]) == 8


def test_measuring_continues_while_the_ratio_is_imprecise():
    noise = iter(range(1, 100))
    turns = {"a": lambda: float(next(noise)), "b": lambda: 1.0}
    found = measure.interleave(turns, measure.Patience(8, 20, 60.0, 0.01), [("a", "b")])
    assert len(found["a"]) == 20


def test_an_outlier_does_not_widen_the_interval():
    calm = measure.summarise([1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0, 1.0, 1.0, 1.0])
    disturbed = measure.summarise([1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0, 1.0, 1.0, 50.0])
    assert calm.median == disturbed.median == 1.0
    assert disturbed.sure < 0.02


@pytest.mark.parametrize(
    ("values", "goal", "answer"),
    [
        ([1.0] * 10, 1.01, "yes"),
        ([1.1] * 10, 1.01, "no"),
        ([0.9, 1.1] * 5, 1.01, "likely"),
        ([1.0, 1.1] * 5, 1.01, "unlikely"),
        ([1.0], 1.01, "likely"),
    ],
)
def test_a_verdict_considers_the_noise(values, goal, answer):
    assert report.verdict(measure.summarise(values), goal).startswith(answer)
