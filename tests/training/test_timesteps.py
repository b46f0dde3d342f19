"""The samplings of times: their bounds, and their distributions against the integrals of their densities."""

import math
from statistics import NormalDist

import pytest
import torch
from t2i_adapter_pack.training.errors import TrainingError
from t2i_adapter_pack.training.timesteps import TIMESTEP_SAMPLINGS, sample_timesteps

COUNT = 200_000


def draw(name, seed=0, count=COUNT):
    return sample_timesteps(name, count, torch.Generator().manual_seed(seed))


# t <= x means 1 - u^3 <= x / T, so its probability is 1 - (1 - x / T)^(1/3).
CUMULATIVE = {
    "cubic": lambda x: 1 - (1 - x) ** (1 / 3),
    "uniform": lambda x: x,
    "late": lambda x: max(0.0, 2 * x - 1),
    "logit-normal": lambda x: NormalDist().cdf(math.log(x / (1 - x))),
}


@pytest.mark.parametrize("name", [row.name for row in TIMESTEP_SAMPLINGS])
@pytest.mark.parametrize("part", [0.1, 0.333, 0.5, 0.667, 0.9])
def test_the_share_of_early_times_is_that_of_the_distribution(name, part):
    share = (draw(name) < part * 1000).double().mean().item()
    # Five standard deviations of a share of this many draws.
    assert share == pytest.approx(CUMULATIVE[name](part), abs=5 * 0.5 / COUNT**0.5)


@pytest.mark.parametrize(("name", "lowest", "mean"), [("cubic", 0, 749.5), ("uniform", 0, 499.5), ("late", 500, 749.5)])
def test_the_bounds_and_means(name, lowest, mean):
    times = draw(name)
    assert times.dtype == torch.int64
    assert times.min() >= lowest
    assert times.max() == 999
    assert times.double().mean().item() == pytest.approx(mean, abs=3)


def test_the_generator_alone_decides():
    torch.manual_seed(1)
    first = draw("cubic", 3, 10)
    torch.manual_seed(2)
    assert torch.equal(draw("cubic", 3, 10), first)
    assert not torch.equal(draw("cubic", 4, 10), first)


def test_a_uniform_number_of_zero_is_the_last_time_and_not_past_it(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda count, **_: torch.zeros(count, dtype=torch.float64))
    assert draw("cubic", count=3).tolist() == [999, 999, 999]


def test_an_unknown_sampling_is_named():
    with pytest.raises(TrainingError, match="cubic, uniform, late"):
        draw("sideways", count=1)
