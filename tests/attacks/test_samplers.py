"""Samplers that nest, end early, or call the model in unusual ways: results are right, and no run is left."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ..host import tiny
from . import effort

pytestmark = pytest.mark.host
LATENT, PIXELS = (8, 8), (64, 64)
SIGMAS = (10.0, 5.0, 2.0, 0.5, 0.0)
ROUTES = ("model", "control")


class EndedError(Exception):
    """The error that a sampler raises."""


@pytest.fixture(scope="module")
def adapter(inside_comfyui) -> Any:
    return tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd14v1")


def dressed(model: Any, adapter: Any, route: str, **values: Any) -> tuple[Any, dict[str, Any]]:
    """A MODEL and its prompts, with an adapter by one of the routes."""
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    if route == "model":
        return tiny.apply(model, adapter, tiny.hint(*PIXELS), **values), {
            "positive": tiny.conditioning(1),
            "negative": tiny.conditioning(2),
        }
    control = T2IAdapterToControlNet.execute(adapter, **({"weights": values["weights"]} if values else {}))[0]
    positive, negative = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), control, tiny.hint(*PIXELS))
    return model, {"positive": positive, "negative": negative}


def guider(model: Any, prompts: dict[str, Any]) -> Any:
    import comfy.samplers

    made = comfy.samplers.CFGGuider(model)
    made.set_conds(prompts["positive"], prompts["negative"])
    made.set_cfg(3.0)
    return made


def run(
    model: Any, prompts: dict[str, Any], function: Callable[..., torch.Tensor] | None = None, batch: int = 1
) -> Any:
    """Sample with this sampler function; Euler by default.

    ComfyUI's model drops its patcher at the end of a run, but an enclosing run still needs it.
    """
    import comfy.samplers
    from comfy.k_diffusion.sampling import sample_euler

    sampler = comfy.samplers.KSAMPLER(function or sample_euler)
    noise = torch.randn(batch, 4, *LATENT, generator=torch.Generator().manual_seed(3))
    around = model.model.current_patcher
    try:
        with torch.inference_mode():
            return guider(model, prompts).sample(
                noise, torch.zeros_like(noise), sampler, torch.tensor(SIGMAS), disable_pbar=True, seed=3
            )
    finally:
        model.model.current_patcher = around


def euler(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any, before: Any = None) -> torch.Tensor:
    """Euler's steps, with a callback before each."""
    for sigma, following in itertools.pairwise(sigmas):
        if before is not None:
            before(x, sigma)
        denoised = denoise(x, sigma * x.new_ones([x.shape[0]]), **extra_args)
        x = x + (x - denoised) / sigma * (following - sigma)
    return x


ALL_DRESSINGS = [(route, scheduled) for route in ROUTES for scheduled in (False, True)]
DRESSINGS = ALL_DRESSINGS if effort.LONG else [("model", True), ("control", False)]


@pytest.fixture(params=DRESSINGS, ids=str)
def dressing(request, sd, adapter) -> tuple[Any, dict[str, Any]]:
    """Also with a strength that changes by step: each run must know its own steps."""
    from t2i_adapter_pack.nodes.weights import T2IAdapterSchedule, T2IAdapterWeights

    route, scheduled = request.param
    if not scheduled:
        return dressed(sd, adapter, route)
    schedule = T2IAdapterSchedule.execute(1.0, 0.0, "linear", unit="sampling steps")[0]
    weights = T2IAdapterWeights.execute({"preset": "uniform"}, 1.0, 1.0, schedule)[0]
    return dressed(sd, adapter, route, weights=weights)


def nothing_left(model: Any) -> bool:
    """Return whether no run is alive, or left in the MODEL's options."""
    options = model.model_options.get("transformer_options", {})
    return not tiny.left_of_runs() and not any(isinstance(key, str) and "t2i" in key for key in options)


def whole_run(model: Any, prompts: dict[str, Any], **_: Any) -> Callable[..., None]:
    return lambda *_: run(model, prompts, batch=2)


def bare_run(model: Any, prompts: dict[str, Any], sd: Any = None) -> Callable[..., None]:
    return lambda *_: run(sd, {"positive": tiny.conditioning(5), "negative": tiny.conditioning(6)})


def broken_run(model: Any, prompts: dict[str, Any], **_: Any) -> Callable[..., None]:
    def before(*_: Any) -> None:
        with pytest.raises(EndedError):
            run(model, prompts, raising(1))

    return before


def raising(step: int) -> Callable[..., torch.Tensor]:
    """A sampler that fails at a step."""

    def function(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, **_: Any) -> torch.Tensor:
        def before(_: torch.Tensor, sigma: torch.Tensor) -> None:
            if sigma <= sigmas[step]:
                raise EndedError

        return euler(denoise, x, sigmas, extra_args, before)

    return function


@pytest.mark.parametrize("inner", [whole_run, bare_run, broken_run])
def test_a_run_inside_a_step_changes_nothing_of_the_run_around_it(sd, dressing, inner):
    model, prompts = dressing
    expected = run(model, prompts)
    between = inner(model, prompts, sd=sd)

    def nesting(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, **_: Any) -> torch.Tensor:
        return euler(denoise, x, sigmas, extra_args, between)

    for _ in range(effort.count(1, 20)):
        torch.testing.assert_close(run(model, prompts, nesting), expected, **tiny.CLOSE)
    assert nothing_left(model)


def test_a_sampler_inside_a_step_that_shares_the_options_changes_nothing_of_the_run(dressing):
    """As in packs that enter ComfyUI's wrappers again in the middle of a call."""
    import comfy.patcher_extension as extension
    import comfy.samplers

    model, prompts = dressing
    expected = run(model, prompts)

    def nesting(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, **_: Any) -> torch.Tensor:
        outer = denoise.inner_model

        def before(x: torch.Tensor, sigma: torch.Tensor) -> None:
            sampler = comfy.samplers.KSAMPLER(lambda model, x, sigmas, extra_args=None, **_: x)
            kind = extension.WrappersMP.SAMPLER_SAMPLE
            wrappers = extension.get_all_wrappers(kind, extra_args["model_options"], is_model_options=True)
            executor = extension.WrapperExecutor.new_class_executor(sampler.sample, sampler, wrappers)
            executor.execute(outer, sigmas[-2:], extra_args, None, x, torch.zeros_like(x), None, True)

        return euler(denoise, x, sigmas, extra_args, before)

    torch.testing.assert_close(run(model, prompts, nesting), expected, **tiny.CLOSE)
    assert nothing_left(model)


@pytest.mark.parametrize("step", [0, 2, 3])
@pytest.mark.parametrize("way", ["returns", "raises"])
def test_a_sampler_that_ends_early_leaves_nothing(dressing, way, step):
    model, prompts = dressing
    expected = run(model, prompts)

    def returning(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, **_: Any) -> Any:
        return euler(denoise, x, sigmas[: step + 1], extra_args)

    if way == "returns":
        assert torch.isfinite(run(model, prompts, returning)).all()
    else:
        with pytest.raises(EndedError):
            run(model, prompts, raising(step))
    assert nothing_left(model)
    torch.testing.assert_close(run(model, prompts), expected, **tiny.CLOSE)


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_a_sampler_that_calls_with_another_batch_gets_what_each_row_would_get_alone(dressing, rows):
    """Some samplers put several noise levels or copies into one call; all share one condition image."""
    model, prompts = dressing
    found = []

    def calling(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, **_: Any) -> torch.Tensor:
        level = sigmas[0] * x.new_ones([1])
        alone = denoise(x[:1], level, **extra_args)
        together = denoise(x[:1].expand(rows, -1, -1, -1).contiguous(), level.expand(rows), **extra_args)
        found.append((alone, together, denoise(x[:1], level, **extra_args)))
        return x

    run(model, prompts, calling, batch=2)
    ((alone, together, again),) = found
    torch.testing.assert_close(together, alone.expand_as(together), **tiny.CLOSE)
    torch.testing.assert_close(again, alone, **tiny.CLOSE)
    assert nothing_left(model)


@pytest.mark.parametrize("each", [False, True])
def test_runs_in_turns_of_two_guiders_of_one_model_are_each_right(dressing, each):
    """Two runs that alternate step by step: the state of a run must not be looked up by the MODEL."""
    model, prompts = dressing
    expected = run(model, prompts)
    depth = effort.count(2, 4)

    def nesting(level: int) -> Callable[..., torch.Tensor]:
        def function(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, **_: Any) -> Any:
            def before(_: torch.Tensor, sigma: torch.Tensor) -> None:
                if level and (sigma == sigmas[1] or each):
                    torch.testing.assert_close(run(model, prompts, nesting(level - 1)), expected, **tiny.CLOSE)

            return euler(denoise, x, sigmas, extra_args, before)

        return function

    torch.testing.assert_close(run(model, prompts, nesting(1 if each else depth)), expected, **tiny.CLOSE)
    assert nothing_left(model)
