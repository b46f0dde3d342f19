"""With any guider, an adapter distinguishes positive from negative prompts.

The tests identify prompts by the text embedding in each row of a UNet call. An index is not a role: guiders order
their lists differently, and some pass only one list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
POSITIVE, NEGATIVE, MIDDLE, EMPTY = 1, 2, 3, 4  # seeds of the prompts
SIDE = 128


def guider(model: Any) -> Any:
    from comfy.samplers import CFGGuider

    made = CFGGuider(model)
    made.set_conds(tiny.conditioning(POSITIVE), tiny.conditioning(NEGATIVE))
    made.set_cfg(5.0)
    return made


def without_guidance(model: Any) -> Any:
    made = guider(model)
    made.set_cfg(1.0)
    return made


def basic(model: Any) -> Any:
    from comfy_extras.nodes_custom_sampler import Guider_Basic

    made = Guider_Basic(model)
    made.set_conds(tiny.conditioning(POSITIVE))
    return made


def dual(model: Any) -> Any:
    from comfy_extras.nodes_custom_sampler import Guider_DualCFG

    made = Guider_DualCFG(model)
    made.set_conds(tiny.conditioning(POSITIVE), tiny.conditioning(MIDDLE), tiny.conditioning(NEGATIVE))
    made.set_cfg(5.0, 3.0)
    return made


def perpendicular(model: Any) -> Any:
    from comfy_extras.nodes_perpneg import PerpNegGuider

    return PerpNegGuider.execute(
        model, tiny.conditioning(POSITIVE), tiny.conditioning(NEGATIVE), tiny.conditioning(EMPTY), 5.0, 1.0
    )[0]


def perturbed(model: Any) -> Any:
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance

    return guider(PerturbedAttentionGuidance.execute(model, 2.0)[0])


def self_attention(model: Any) -> Any:
    from comfy_extras.nodes_sag import SelfAttentionGuidance

    return guider(SelfAttentionGuidance.execute(model, 0.5, 2.0)[0])


def skipped_layers(model: Any) -> Any:
    from comfy_extras.nodes_slg import SkipLayerGuidanceDiT

    return guider(SkipLayerGuidanceDiT.execute(model, 3.0, 0.0, 1.0, "1", "1")[0])


def skipped_layers_simple(model: Any) -> Any:
    from comfy_extras.nodes_slg import SkipLayerGuidanceDiTSimple

    return guider(SkipLayerGuidanceDiTSimple.execute(model, 0.0, 1.0, "1", "1")[0])


GUIDERS: dict[str, tuple[Callable[[Any], Any], set[int]]] = {
    "classifier-free": (guider, {POSITIVE, NEGATIVE}),
    "without guidance": (without_guidance, {POSITIVE}),
    "basic": (basic, {POSITIVE}),
    "dual": (dual, {POSITIVE, MIDDLE, NEGATIVE}),
    "perpendicular negative": (perpendicular, {POSITIVE, NEGATIVE, EMPTY}),
    "perturbed attention": (perturbed, {POSITIVE, NEGATIVE}),
    "self-attention": (self_attention, {POSITIVE, NEGATIVE}),
    "skipped layers": (skipped_layers, {POSITIVE, NEGATIVE}),
    "skipped layers, simple": (skipped_layers_simple, {POSITIVE, NEGATIVE}),
}


def watched(model: Any, acts: list[tuple[int, bool]]) -> Any:
    """A clone that notes, for each prompt in each call, whether an adapter acts on it."""
    known = {seed: tiny.conditioning(seed)[0][0][0] for seed in (POSITIVE, NEGATIVE, MIDDLE, EMPTY)}

    def watch(executor: Any, x: Any, t: Any, concat: Any, crossattn: Any, control: Any, options: Any, **kw: Any) -> Any:
        residual = next(iter(oracle.residuals_of(options).values()))
        chunks = len(options["cond_or_uncond"])
        acting = (residual.abs().amax((1, 2, 3, 4)) > 0).expand(chunks).tolist()
        for text, acted in zip(crossattn.unflatten(0, (chunks, -1))[:, 0], acting, strict=True):
            prompt = next(seed for seed, embedding in known.items() if torch.equal(text.float(), embedding))
            acts.append((prompt, acted))
        return executor(x, t, concat, crossattn, control, options, **kw)

    clone = model.clone()
    clone.add_wrapper_with_key("apply_model", "test", watch)
    return clone


def sample(made: Any) -> torch.Tensor:
    import comfy.samplers

    sampling = made.model_patcher.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", 2)
    noise = torch.randn(1, 4, SIDE // 8, SIDE // 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return made.sample(
            noise, torch.zeros_like(noise), comfy.samplers.sampler_object("euler"), sigmas, disable_pbar=True, seed=0
        )


@pytest.mark.parametrize("name", GUIDERS)
@pytest.mark.parametrize("acting", ["positive", "negative"])
def test_a_strength_for_one_side_acts_on_that_side_alone(sd, name, acting):
    from t2i_adapter_pack.nodes.weights import T2IAdapterWeights

    make, prompts = GUIDERS[name]
    sides = {"positive": 0.0, "negative": 0.0, acting: 1.0}
    weights = T2IAdapterWeights.execute(**sides)[0]
    acts: list[tuple[int, bool]] = []
    adapter = tiny.adapter(tiny.adapter_config())
    sample(make(watched(tiny.apply(sd, adapter, tiny.hint(SIDE, SIDE), weights=weights), acts)))
    # The empty prompt of perpendicular guidance is the unguided side.
    positive = {POSITIVE, MIDDLE}
    assert {prompt for prompt, _ in acts} == prompts
    assert all(acted == ((prompt in positive) == (acting == "positive")) for prompt, acted in acts)


@pytest.mark.parametrize("name", GUIDERS)
def test_sides_of_their_own_cost_no_call_of_the_unet(sd, name):
    from t2i_adapter_pack.nodes.weights import T2IAdapterWeights

    make, _ = GUIDERS[name]
    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(SIDE, SIDE)
    calls = []
    for weights in (None, T2IAdapterWeights.execute(positive=1.0, negative=0.5)[0]):
        count = tiny.Count(sd.model.diffusion_model)
        sample(make(tiny.apply(sd, adapter, image, weights=weights)))
        calls.append(count.calls)
    assert calls[0] == calls[1] > 0
