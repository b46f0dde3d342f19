"""Branches of a workflow do not see each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
PIXELS = (64, 128)


def run(model: Any, **values: Any) -> torch.Tensor:
    return tiny.sample(model, tiny.latent(8, 16), **{"steps": 2, **values})


@pytest.fixture
def adapter(inside_comfyui) -> Any:
    return tiny.adapter(tiny.adapter_config())


def test_applying_leaves_the_model_as_it_is(sd, adapter):
    before, options = run(sd), repr(sorted(sd.model_options["transformer_options"]))
    patched = tiny.apply(sd, adapter, tiny.hint(*PIXELS))
    run(patched)
    assert torch.equal(run(sd), before)
    assert repr(sorted(sd.model_options["transformer_options"])) == options
    assert "t2i_adapter" not in sd.attachments
    assert not any("t2i_adapter" in keyed for keyed in sd.wrappers.values())


def test_a_run_leaves_nothing_in_the_options_that_it_was_given(sd, adapter):
    """A sampler that calls others hands them the same options."""
    from comfy.patcher_extension import WrappersMP

    given: list[Any] = []

    def spy(executor: Any, guider: Any, sigmas: Any, extra_args: Any, *rest: Any, **values: Any) -> Any:
        given.append(extra_args)
        return executor(guider, sigmas, extra_args, *rest, **values)

    patched = tiny.apply(sd, adapter, tiny.hint(*PIXELS))
    patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "spy", spy)
    run(patched)
    options = given[0]["model_options"]["transformer_options"]
    assert [name for name in options if name.startswith("t2i_adapter")] == []


def test_branches_keep_their_own_strength(sd, adapter):
    image = tiny.hint(*PIXELS)
    alone = {strength: run(tiny.apply(sd, adapter, image, strength=strength)) for strength in (0.3, 1.0)}
    weak = tiny.apply(sd, adapter, image, strength=0.3)
    clone = sd.clone()
    strong = tiny.apply(clone, adapter, image, strength=1.0)
    for _ in range(2):  # two KSamplers in turn, each queued twice
        assert torch.equal(run(weak), alone[0.3])
        assert torch.equal(run(strong), alone[1.0])
    assert (alone[0.3] - alone[1.0]).abs().max() > 0.1


def test_stacking_on_a_patched_model_leaves_that_one_alone(sd, adapter):
    first = tiny.apply(sd, adapter, tiny.hint(*PIXELS), strength=0.5)
    before = run(first)
    second = tiny.apply(first, adapter, tiny.hint(*PIXELS, seed=1), strength=0.5)
    third = tiny.apply(first.clone(), adapter, tiny.hint(*PIXELS, seed=2), strength=0.5)
    after = [run(model) for model in (second, third, first)]
    assert torch.equal(after[2], before)
    assert (after[0] - after[1]).abs().max() > 0.1
    assert torch.equal(run(second), after[0])


def test_one_adapter_serves_models_of_two_kinds_and_sizes(models):
    adapter, image = tiny.adapter(tiny.adapter_config(channels=tiny.WIDTHS[:3], down_levels=(1, 2))), tiny.hint(64, 128)
    patched = {kind: tiny.apply(models[kind], adapter, image) for kind in models}
    first = {kind: run(model) for kind, model in patched.items()}
    tiny.sample(patched["SD"], tiny.latent(16, 16), steps=1)
    for kind, model in patched.items():
        assert torch.equal(run(model), first[kind])


def test_patches_of_other_packs_stay_and_see_the_sum(sd, adapter):
    config, image = tiny.adapter_config(), tiny.hint(*PIXELS)
    seen: dict[Any, torch.Tensor] = {}

    def other(h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        seen.setdefault(options["block"], h.clone())
        return h * 0.9

    before = sd.clone()
    before.set_model_input_block_patch(other)
    patched = tiny.apply(before, adapter, image)
    result = run(patched)
    with_other = dict(seen)
    features = oracle.reference_features("SD", tiny.adapter_weights(config), image)
    plain = oracle.inject_features(sd, "SD", features)
    plain.set_model_input_block_patch(other)
    torch.testing.assert_close(result, run(plain), **tiny.CLOSE)
    seen.clear()
    run(before)
    difference = with_other["input", 2] - seen["input", 2]
    torch.testing.assert_close(difference, features[0].expand_as(difference), rtol=0, atol=1e-4)


def test_the_image_and_the_latent_are_not_written_into(sd, adapter):
    image, mask, latent = tiny.hint(*PIXELS), torch.rand(1, *PIXELS), tiny.latent(8, 16)
    copies = [tensor.clone() for tensor in (image, mask, latent)]
    run(tiny.apply(sd, adapter, image, mask=mask, strength=0.5))
    assert all(torch.equal(*pair) for pair in zip((image, mask, latent), copies, strict=True))


@pytest.mark.parity
def test_a_later_node_that_replaces_the_noise_schedule_is_obeyed(sd, adapter):
    """Percent is converted to a noise level when the run begins, not when the node runs."""
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    image, values = tiny.hint(*PIXELS), {"start_percent": 0.3, "end_percent": 0.8}
    patched = ModelSamplingDiscrete().patch(tiny.apply(sd, adapter, image, **values), "eps", True)[0]
    bare = ModelSamplingDiscrete().patch(sd, "eps", True)[0]
    control = tiny.core_control(tiny.adapter_config())
    positive, negative = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), control, image, **values)
    result = run(patched, steps=6)
    assert torch.equal(result, run(bare, steps=6, positive=positive, negative=negative))
    assert not torch.equal(result, run(tiny.apply(sd, adapter, image, **values), steps=6))
