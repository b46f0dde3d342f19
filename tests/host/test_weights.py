"""Level weights, sides and schedules in the real ComfyUI."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
SIDE = 128
CLOSE = {"atol": 1e-2, "rtol": 0}  # the latents spread by about 100


def weights(preset: dict[str, Any] | None = None, positive: float = 1.0, negative: float = 1.0, **values: Any) -> Any:
    from t2i_adapter_pack.nodes.weights import T2IAdapterWeights

    return T2IAdapterWeights.execute(preset or {"preset": "uniform"}, positive, negative, **values)[0]


def schedule(*values: Any, **named: Any) -> Any:
    from t2i_adapter_pack.nodes.weights import T2IAdapterSchedule

    return T2IAdapterSchedule.execute(*values, **named)[0]


@pytest.fixture(scope="module", params=["SD", "SDXL"])
def scene(request, inside_comfyui) -> Any:
    """A model, an adapter, core's adapter with the same weights, and a hint."""
    config = tiny.adapter_config(request.param)
    return tiny.model(request.param), tiny.adapter(config), tiny.core_control(config), tiny.hint(SIDE, SIDE)


def sampled(scene: Any, weighed: Any, **values: Any) -> torch.Tensor:
    model, adapter, _, image = scene
    return tiny.sample(tiny.apply(model, adapter, image, weights=weighed), tiny.latent(16, 16), **values)


def steps_of(monkeypatch: pytest.MonkeyPatch, scene: Any, weighed: Any, **values: Any) -> list[float]:
    """The factor of the first level at each call of the UNet."""
    from t2i_adapter_pack.nodes.sampling import state

    seen: list[float] = []
    factors = state.SamplingState._factors

    def spy(self: Any, sigma: torch.Tensor) -> Any:
        found = factors(self, sigma)
        seen.append(round(found[0][0], 2))
        return found

    monkeypatch.setattr(state.SamplingState, "_factors", spy)
    sampled(scene, weighed, **values)
    return seen[1:]  # the first is the computation of the features, before the first step


def test_uniform_weights_are_no_weights_bit_for_bit(scene):
    model, adapter, _, image = scene
    bare = tiny.sample(tiny.apply(model, adapter, image), tiny.latent(16, 16))
    assert torch.equal(sampled(scene, weights()), bare)


def test_two_complementary_presets_add_up_to_the_whole(scene):
    model, adapter, _, image = scene
    fine = tiny.apply(model, adapter, image, weights=weights({"preset": "fine only"}))
    both = tiny.apply(fine, adapter, image, weights=weights({"preset": "coarse only"}))
    torch.testing.assert_close(
        tiny.sample(both, tiny.latent(16, 16)),
        tiny.sample(tiny.apply(model, adapter, image), tiny.latent(16, 16)),
        **CLOSE,
    )


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_a_level_alone_changes_its_own_site_alone(scene, level):
    model, adapter, _, image = scene
    alone = {"preset": "custom", **{f"level_{number}": float(number == level) for number in range(1, 5)}}
    patched = tiny.apply(model, adapter, image, weights=weights(alone))
    seen: dict[Any, bool] = {}

    def watch(h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        for site, residual in oracle.residuals_of(options).items():
            seen[site] = bool(residual.abs().sum() > 0)
        return h

    patched.set_model_input_block_patch(watch)
    tiny.sample(patched, tiny.latent(16, 16), steps=1)
    order = [(site.part, site.index) for site in engine_sites(patched)]
    assert [seen[site] for site in order] == [number == level for number in range(1, 5)]


def engine_sites(patched: Any) -> Any:
    from t2i_adapter_pack.nodes.sampling import attach

    return patched.get_attachment(attach.KEY).uses[0].sites


@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_each_side_has_its_own_strength_with_one_call_a_step(scene, cfg):
    model, _, core, image = scene
    positive, _ = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), core, image, strength=0.5)
    _, negative = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), core, image, strength=2.0)
    expected = tiny.sample(model, tiny.latent(16, 16), cfg=cfg, positive=positive, negative=negative)
    count = tiny.Count(model.model.diffusion_model)
    torch.testing.assert_close(sampled(scene, weights(None, 0.5, 2.0), cfg=cfg), expected, **CLOSE)
    assert count.calls == 4


def test_a_side_is_told_by_the_guider_and_not_by_its_place(scene):
    """Dual CFG passes its lists as negative, middle, positive."""
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import Guider_DualCFG

    model, adapter, _, image = scene
    patched = tiny.apply(model, adapter, image, weights=weights(None, 1.0, 0.0))
    acts: list[list[bool]] = []

    def watch(h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        if options["block"] == ("input", 0):
            residual = next(iter(oracle.residuals_of(options).values()))
            acts.append(sorted(zip(options["cond_or_uncond"], residual.abs().sum((1, 2, 3, 4)) > 0, strict=True)))
        return h

    patched.set_model_input_block_patch(watch)
    guider = Guider_DualCFG(patched)
    guider.set_conds(tiny.conditioning(1), tiny.conditioning(3), tiny.conditioning(2))
    guider.set_cfg(5.0, 3.0)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 2)
    sampler = comfy.samplers.sampler_object("euler")
    with torch.inference_mode():
        guider.sample(torch.randn(1, 4, 16, 16), tiny.latent(16, 16), sampler, sigmas, disable_pbar=True, seed=0)
    assert acts
    assert all(call == [(0, False), (1, True), (2, True)] for call in acts)


def test_image_to_image_follows_half_of_its_own_steps(monkeypatch, scene):
    halved = schedule(1.0, 1.0, "constant", 0.0, 0.5, "sampling steps")
    assert steps_of(monkeypatch, scene, halved, steps=8, denoise=0.5) == [1.0] * 4 + [0.0] * 4


def test_by_the_noise_schedule_the_same_range_is_over_before_it_begins(monkeypatch, scene):
    halved = schedule(1.0, 1.0, "constant", 0.0, 0.5, "noise schedule")
    assert steps_of(monkeypatch, scene, halved, steps=8, denoise=0.5) == [0.0] * 8


def test_a_second_order_sampler_holds_the_strength_within_a_step(monkeypatch, scene):
    falling = schedule(1.0, 0.0, "linear", unit="sampling steps")
    seen = steps_of(monkeypatch, scene, falling, steps=4, sampler="dpm_2")
    assert seen == [1.0, 1.0, 0.75, 0.75, 0.5, 0.5, 0.25]


def test_a_curve_of_comfyui_sets_the_strength(monkeypatch, scene):
    curve = {"points": [[0.0, 1.0], [1.0, 0.0]], "interpolation": "linear"}
    seen = steps_of(monkeypatch, scene, schedule(unit="sampling steps", curve=curve), steps=4)
    assert seen == [1.0, 0.75, 0.5, 0.25]


def test_a_schedule_runs_the_adapter_once(scene):
    model, adapter, _, image = scene
    fresh = image.clone()
    count = tiny.Count(adapter.network)
    patched = tiny.apply(model, adapter, fresh, weights=schedule(1.0, 0.0, "ease in"))
    tiny.sample(patched, tiny.latent(16, 16))
    assert count.calls == 1


def test_an_unknown_preset_is_refused_by_name(inside_comfyui):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    with pytest.raises(AdapterError, match="got 'loud'; expected one of uniform"):
        weights({"preset": "loud"})
