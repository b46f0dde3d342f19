"""When an adapter acts, for every kind of sampler and noise schedule.

The oracle uses only the noise levels of the UNet calls and of the steps, not the pack's own clock.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
SAMPLERS = ("euler", "heun", "dpmpp_sde", "lcm")
SCHEDULERS = ("normal", "karras", "beta")
STEPS = 6


def calls_of(model: Any, adapter: Any, **values: Any) -> list[tuple[float, tuple[float, ...], float]]:
    """Sample with an adapter; return each call's noise level, the steps' noise levels, and the adapter's share."""
    sampling = {name: values.pop(name) for name in ("sampler", "scheduler", "denoise", "sigmas") if name in values}
    image = tiny.hint(64, 64)
    whole: list[torch.Tensor] = []
    seen: list[tuple[float, tuple[float, ...], float]] = []

    def look(_: torch.Tensor, options: dict[str, Any]) -> None:
        residual = next(iter(oracle.residuals_of(options).values()))
        if not whole:
            whole.append(features(adapter, image))
        share = float(residual.abs().sum() / whole[0].abs().sum())
        seen.append((float(options["sigmas"][0]), tuple(options["sample_sigmas"].tolist()), round(share, 4)))

    patched = oracle.spied(tiny.apply(model, adapter, image, **values), look)
    tiny.sample(patched, tiny.latent(8, 8), steps=STEPS, **sampling)
    return seen


def features(adapter: Any, image: torch.Tensor) -> torch.Tensor:
    found = adapter.features(image.movedim(-1, 1), 1, (64, 64), "crop", device=torch.device("cpu"), dtype=torch.float32)
    return found.levels[0]


def schedule(*values: Any, **named: Any) -> Any:
    from t2i_adapter_pack.nodes.weights import T2IAdapterSchedule

    return T2IAdapterSchedule.execute(*values, **named)[0]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("denoise", [1.0, 0.5])
def test_a_range_of_the_noise_schedule_is_one_of_noise_levels(sd, sampler, scheduler, denoise):
    adapter, to_sigma = tiny.adapter(tiny.adapter_config()), sd.get_model_object("model_sampling").percent_to_sigma
    calls = calls_of(
        sd, adapter, start_percent=0.3, end_percent=0.8, sampler=sampler, scheduler=scheduler, denoise=denoise
    )
    assert len(calls) >= STEPS
    assert [share > 0 for *_, share in calls] == [to_sigma(0.8) <= sigma <= to_sigma(0.3) for sigma, *_ in calls]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("denoise", [1.0, 0.5])
def test_a_range_of_the_steps_is_the_same_steps_of_every_sampler(sd, sampler, scheduler, denoise):
    adapter = tiny.adapter(tiny.adapter_config())
    half = schedule(start_percent=0.0, end_percent=0.5, unit="sampling steps")
    calls = calls_of(sd, adapter, weights=half, sampler=sampler, scheduler=scheduler, denoise=denoise)
    for sigma, steps, share in calls:
        # The step that a call belongs to begins at the last noise level that is not below it.
        step = max(number for number, begin in enumerate(steps[:-1]) if begin >= sigma * (1 - 1e-4))
        assert (share > 0) == (step < STEPS / 2), (sigma, steps)
    assert {share > 0 for *_, share in calls} == {True, False}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_curve_is_read_at_each_step(sd, sampler):
    adapter = tiny.adapter(tiny.adapter_config())
    curve = {"points": [[0.0, 1.0], [1.0, 0.0]], "interpolation": "linear"}
    falling = schedule(unit="sampling steps", curve=curve)
    calls = calls_of(sd, adapter, weights=falling, sampler=sampler, scheduler="normal", denoise=1.0)
    for sigma, steps, share in calls:
        step = max(number for number, begin in enumerate(steps[:-1]) if begin >= sigma * (1 - 1e-4))
        assert share == pytest.approx(1 - step / STEPS, abs=1e-3)


def test_schedules_multiply(sd):
    adapter = tiny.adapter(tiny.adapter_config())
    fades = schedule(1.0, 0.0, "linear", unit="sampling steps")
    both = schedule(0.5, 0.5, "constant", 0.0, 0.5, "sampling steps", weights=fades)
    calls = calls_of(sd, adapter, weights=both, sampler="euler", scheduler="normal", denoise=1.0)
    expected = [0.5 * (1 - step / STEPS) if step < STEPS / 2 else 0.0 for step in range(STEPS)]
    assert [share for *_, share in calls] == pytest.approx(expected, abs=1e-3)


# --- noise levels that rise -------------------------------------------------------------------------------


def rising(model: Any) -> torch.Tensor:
    """The noise levels of unsampling: ComfyUI's own, turned round by its node."""
    from comfy.samplers import calculate_sigmas
    from comfy_extras.nodes_custom_sampler import FlipSigmas

    falling = calculate_sigmas(model.get_model_object("model_sampling"), "karras", STEPS)
    return FlipSigmas.execute(falling)[0]


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m"])
def test_the_steps_of_a_run_with_rising_noise_count_from_its_beginning(sd, sampler):
    adapter = tiny.adapter(tiny.adapter_config())
    fading = schedule(1.0, 0.0, "linear", unit="sampling steps")
    calls = calls_of(sd, adapter, weights=fading, sampler=sampler, sigmas=rising(sd))
    assert calls[0][0] < calls[-1][0]
    for sigma, steps, share in calls:
        step = max(number for number, begin in enumerate(steps[:-1]) if begin <= sigma * (1 + 1e-4))
        assert share == pytest.approx(1 - step / STEPS, abs=1e-3)
    assert calls[0][2] == 1.0


def test_the_noise_schedule_stays_one_of_levels_where_they_rise(sd):
    adapter, to_sigma = tiny.adapter(tiny.adapter_config()), sd.get_model_object("model_sampling").percent_to_sigma
    calls = calls_of(sd, adapter, start_percent=0.3, end_percent=0.8, sampler="euler", sigmas=rising(sd))
    assert [share > 0 for *_, share in calls] == [to_sigma(0.8) <= sigma <= to_sigma(0.3) for sigma, *_ in calls]


def test_a_run_to_and_fro_counts_its_steps_and_not_its_levels(sd):
    """Restarts: the same level comes again in a later step."""
    levels = torch.tensor([10.0, 5.0, 2.0, 5.0, 2.0, 5.0, 2.0, 0.0])
    adapter, fading = tiny.adapter(tiny.adapter_config()), schedule(1.0, 0.0, "linear", unit="sampling steps")
    for _ in range(2):
        calls = calls_of(sd, adapter, weights=fading, sampler="euler", sigmas=levels)
        assert [sigma for sigma, *_ in calls] == levels[:-1].tolist()
        assert [share for *_, share in calls] == pytest.approx([1 - step / 7 for step in range(7)], abs=1e-3)
