"""Adapters stack by applying again: their features add up, at the cost of one adapter."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
LATENT = (8, 16)


@pytest.fixture(params=["SD", "SDXL"])
def kind(request) -> str:
    return request.param


def stacked(model: Any, *uses: tuple[Any, torch.Tensor, float]) -> Any:
    for adapter, image, strength in uses:
        model = tiny.apply(model, adapter, image, strength=strength)
    return model


def run(model: Any, **values: Any) -> torch.Tensor:
    return tiny.sample(model, tiny.latent(*LATENT), **{"steps": 2, **values})


def test_two_adapters_add_up(models, kind):
    config = tiny.adapter_config(kind)
    images = [tiny.hint(64, 128, seed=seed) for seed in (0, 1)]
    pairs = [
        oracle.reference_features(kind, tiny.adapter_weights(config, seed), image) for seed, image in enumerate(images)
    ]
    features = [0.7 * first + 1.2 * second for first, second in zip(*pairs, strict=True)]
    uses = [(tiny.adapter(config, seed), image, (0.7, 1.2)[seed]) for seed, image in enumerate(images)]
    result = run(stacked(models[kind], *uses))
    torch.testing.assert_close(result, run(oracle.inject_features(models[kind], kind, features)), **tiny.CLOSE)
    # The order of application changes rounding at most.
    torch.testing.assert_close(run(stacked(models[kind], *reversed(uses))), result, **tiny.CLOSE)


def test_two_strengths_of_one_adapter_are_their_sum(models, kind):
    adapter, image = tiny.adapter(tiny.adapter_config(kind)), tiny.hint(64, 128)
    count = tiny.Count(adapter.network)
    twice = run(stacked(models[kind], (adapter, image, 0.5), (adapter, image, 0.25)))
    torch.testing.assert_close(twice, run(stacked(models[kind], (adapter, image, 0.75))), **tiny.CLOSE)
    cancelled = run(stacked(models[kind], (adapter, image, 0.5), (adapter, image, -0.5)))
    torch.testing.assert_close(cancelled, run(models[kind]), **tiny.CLOSE)
    assert count.calls == 1


def test_a_negative_strength_subtracts(models, kind):
    config, image = tiny.adapter_config(kind), tiny.hint(64, 128)
    features = [-2.0 * level for level in oracle.reference_features(kind, tiny.adapter_weights(config), image)]
    result = run(stacked(models[kind], (tiny.adapter(config), image, -2.0)))
    torch.testing.assert_close(result, run(oracle.inject_features(models[kind], kind, features)), **tiny.CLOSE)


def test_strength_0_gives_the_model_itself(models, kind):
    adapter, image = tiny.adapter(tiny.adapter_config(kind)), tiny.hint(64, 128)
    assert tiny.apply(models[kind], adapter, image, strength=0.0) is models[kind]
    one = tiny.apply(models[kind], adapter, image)
    assert tiny.apply(one, adapter, image, strength=0.0) is one


@pytest.mark.parity
def test_it_works_beside_an_adapter_of_core(models, kind):
    config = tiny.adapter_config(kind)
    images = [tiny.hint(64, 128, seed=seed) for seed in (0, 1)]
    positive, negative = tiny.apply_core(
        tiny.conditioning(1), tiny.conditioning(2), tiny.core_control(config, 1), images[1], strength=0.6
    )
    ours = stacked(models[kind], (tiny.adapter(config), images[0], 1.0))
    result = run(ours, positive=positive, negative=negative)
    both = stacked(ours, (tiny.adapter(config, 1), images[1], 0.6))
    torch.testing.assert_close(result, run(both), **tiny.CLOSE)


def test_adapters_of_different_ranges_act_in_their_own_steps(sd):
    config, image = tiny.adapter_config(), tiny.hint(64, 128)
    adapters = [tiny.adapter(config, seed) for seed in (0, 1)]
    patched = tiny.apply(sd, adapters[0], image, end_percent=0.4)
    patched = tiny.apply(patched, adapters[1], image, start_percent=0.6)
    features = [oracle.reference_features("SD", tiny.adapter_weights(config, seed), image) for seed in (0, 1)]
    sampling = sd.model.model_sampling
    first_until, second_from = (float(sampling.percent_to_sigma(percent)) for percent in (0.4, 0.6))
    used = set()

    def by_sigma(level: int, h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor | None:
        sigma = float(options["sigmas"][0])
        use = 0 if sigma >= first_until else 1 if sigma <= second_from else None
        used.add(use)
        return None if use is None else features[use][level]

    expected = run(oracle.inject(sd, "SD", by_sigma), steps=8)
    assert used == {0, 1, None}
    torch.testing.assert_close(run(patched, steps=8), expected, **tiny.CLOSE)


def test_an_end_before_the_start_is_refused(sd):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(64, 128)
    with pytest.raises(AdapterError, match="Swap them"):
        tiny.apply(sd, adapter, image, start_percent=0.6, end_percent=0.5)


def test_a_range_of_one_moment_is_taken(sd):
    """An animation that moves both ends meets it."""
    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(64, 128)
    patched = tiny.apply(sd, adapter, image, start_percent=0.5, end_percent=0.5)
    torch.testing.assert_close(run(patched), run(sd), **tiny.CLOSE)


def test_four_adapters_call_the_unet_as_often_as_none(sd):
    config = tiny.adapter_config()
    four = stacked(sd, *((tiny.adapter(config, seed), tiny.hint(64, 128, seed=seed), 0.5) for seed in range(4)))
    assert oracle.chunks_of_calls(four, run) == oracle.chunks_of_calls(sd, run) == [[1, 0]] * 2


def test_stacking_keeps_one_engine_and_one_patch_of_each_kind(sd):
    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(64, 128)
    patched = stacked(sd, *[(adapter, image, 0.5)] * 3)
    options = patched.model_options["transformer_options"]
    assert {name: len(patches) for name, patches in options["patches"].items()} == {
        "input_block_patch": 1,
        "middle_block_after_patch": 1,
    }
    counts = {kind: len(keyed["t2i_adapter"]) for kind, keyed in patched.wrappers.items() if "t2i_adapter" in keyed}
    assert counts == {"prepare_sampling": 1, "sampler_sample": 1, "calc_cond_batch": 1, "apply_model": 1}
