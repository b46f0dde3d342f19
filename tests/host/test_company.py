"""An adapter combined with everything else that ComfyUI attaches to a MODEL or a prompt.

All tests share one oracle: the same combination on a MODEL whose plain patches add features computed without the pack.
Each companion is checked to have an effect of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
LATENT, PIXELS = (16, 16), (128, 128)  # less is too small for self-attention guidance
# Rounding alone tells two ways of the same sum apart; a companion that is lost changes the picture by far more.
STRENGTH = 1.0


@dataclass(frozen=True)
class Company:
    """A companion of an adapter.

    Attributes:
        join: A MODEL -> a MODEL with the company.
        values: Arguments of the run: prompts, masks.
        changes: The UNet's shape, where it is another.
    """

    join: Callable[[Any], Any] = lambda model: model
    values: Callable[[], dict[str, Any]] = dict
    changes: tuple[tuple[str, Any], ...] = ()


def lora_weights(model: Any) -> dict[str, torch.Tensor]:
    """A LoRA for all convolutions and projections of the encoder, in the generic names of ComfyUI."""
    generator, weights = torch.Generator().manual_seed(5), {}
    for name, tensor in model.model.state_dict().items():
        if name.startswith("diffusion_model.input_blocks") and name.endswith(".weight") and tensor.ndim in (2, 4):
            key = name.removeprefix("diffusion_model.").removesuffix(".weight").replace(".", "_")
            rows, columns = tensor.shape[0], tensor[0].numel()
            weights[f"lora_unet_{key}.lora_up.weight"] = torch.randn(rows, 2, generator=generator)
            weights[f"lora_unet_{key}.lora_down.weight"] = torch.randn(2, columns, generator=generator) / columns
            weights[f"lora_unet_{key}.alpha"] = torch.tensor(2.0)
    return weights


def with_lora(model: Any) -> Any:
    import comfy.sd

    return comfy.sd.load_lora_for_models(model, None, lora_weights(model), 0.8, 0.0)[0]


def with_freeu(model: Any) -> Any:
    from comfy_extras.nodes_freelunch import FreeU_V2

    # FreeU picks decoder blocks by their widths: four and two times the model's.
    return FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2)[0]


def with_attention_patches(model: Any) -> Any:
    """Replace one cross attention and add to others, as IP-Adapters do."""
    clone = model.clone()
    tokens = torch.randn(1, 4, tiny.CONTEXT, generator=torch.Generator().manual_seed(6))

    def more_tokens(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: dict[str, Any]) -> Any:
        extra = tokens.expand(k.shape[0], -1, -1).to(k)
        return q, torch.cat([k, extra], 1), torch.cat([v, extra], 1)

    clone.set_model_attn2_patch(more_tokens)
    clone.set_model_attn2_output_patch(lambda out, options: out * 1.1)
    return clone


def with_hypertile_like_patch(model: Any) -> Any:
    clone = model.clone()
    clone.set_model_output_block_patch(lambda h, skip, options: (h * 1.02, skip * 0.97))
    return clone


def with_rescaled_guidance(model: Any) -> Any:
    from comfy_extras.nodes_model_advanced import RescaleCFG

    return RescaleCFG().patch(model, 0.7)[0]


def with_perturbed_attention(model: Any) -> Any:
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance

    return PerturbedAttentionGuidance.execute(model, 2.0)[0]


def with_self_attention_guidance(model: Any) -> Any:
    from comfy_extras.nodes_sag import SelfAttentionGuidance

    return SelfAttentionGuidance.execute(model, 0.5, 2.0)[0]


def with_differential_diffusion(model: Any) -> Any:
    from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion

    return DifferentialDiffusion.execute(model)[0]


def noise_mask() -> dict[str, Any]:
    mask = torch.linspace(0, 1, LATENT[1]).expand(1, 1, *LATENT).clone()
    return {"noise_mask": mask}


def inpainting() -> dict[str, Any]:
    """What InpaintModelConditioning adds to both prompts."""
    picture = torch.randn(1, 4, *LATENT, generator=torch.Generator().manual_seed(8))
    mask = (torch.arange(PIXELS[1]) > 60).float().expand(1, 1, *PIXELS).clone()
    more = {"concat_latent_image": picture, "concat_mask": mask}
    return {"positive": tiny.conditioning(1, **more), "negative": tiny.conditioning(2, **more), "noise_mask": mask}


def hooked_prompt() -> dict[str, Any]:
    """A LoRA that acts on the positive prompt alone, by ComfyUI's hooks."""
    import comfy.hooks

    hooks = comfy.hooks.create_hook_lora(lora_weights(tiny.model()), 0.8, 0.0)
    return {"positive": comfy.hooks.set_hooks_for_conditioning(tiny.conditioning(1), hooks)}


def timed_prompts() -> dict[str, Any]:
    """A prompt for the first half of the run and one for the second."""
    return {
        "positive": [
            *tiny.conditioning(1, start_percent=0.0, end_percent=0.5),
            *tiny.conditioning(4, start_percent=0.5, end_percent=1.0),
        ]
    }


def core_control() -> dict[str, Any]:
    config = tiny.adapter_config()
    positive, negative = tiny.apply_core(
        tiny.conditioning(1), tiny.conditioning(2), tiny.core_control(config, 7), tiny.hint(*PIXELS, seed=7)
    )
    return {"positive": positive, "negative": negative}


def real_control() -> dict[str, Any]:
    positive, negative = tiny.apply_core(
        tiny.conditioning(1), tiny.conditioning(2), tiny.real_control_net(), tiny.hint(*PIXELS, seed=7), strength=0.6
    )
    return {"positive": positive, "negative": negative}


COMPANIES = {
    "a LoRA": Company(with_lora),
    "FreeU": Company(with_freeu),
    "attention patches": Company(with_attention_patches),
    "patches of the decoder": Company(with_hypertile_like_patch),
    "rescaled guidance": Company(with_rescaled_guidance),
    "perturbed attention": Company(with_perturbed_attention),
    "self-attention guidance": Company(with_self_attention_guidance),
    "a noise mask": Company(values=noise_mask),
    "differential diffusion": Company(with_differential_diffusion, noise_mask),
    "an inpainting model": Company(values=inpainting, changes=(("in_channels", 9),)),
    "a LoRA on one prompt": Company(values=hooked_prompt),
    "prompts that take turns": Company(values=timed_prompts),
    "a control of core's": Company(values=core_control),
    "a real ControlNet": Company(values=real_control),
}


def base(company: Company) -> Any:
    model = tiny.model("SD", **dict(company.changes))
    if company.changes:
        model.model.concat_keys = ("mask", "masked_image")
    return model


def run(model: Any, company: Company | None) -> torch.Tensor:
    picture = torch.randn(1, 4, *LATENT, generator=torch.Generator().manual_seed(3))
    return tiny.sample(model, picture, steps=3, **({} if company is None else company.values()))


@pytest.mark.parametrize("name", COMPANIES)
@pytest.mark.parametrize("order", ["adapter last", "adapter first"])
def test_the_picture_is_that_of_the_features_in_the_same_company(inside_comfyui, name, order):
    company, config, image = COMPANIES[name], tiny.adapter_config(), tiny.hint(*PIXELS)
    model, adapter = base(company), tiny.adapter(config)
    features = oracle.reference_features("SD", tiny.adapter_weights(config), image)
    expected = run(oracle.inject_features(company.join(model), "SD", features), company)
    if order == "adapter last":
        patched = tiny.apply(company.join(model), adapter, image, strength=STRENGTH)
    else:
        patched = company.join(tiny.apply(model, adapter, image, strength=STRENGTH))
    torch.testing.assert_close(run(patched, company), expected, **tiny.CLOSE)
    # Both the companion and the adapter have an effect.
    assert (run(company.join(model), company) - expected).abs().max() > 0.1
    if not company.changes:
        assert (run(oracle.inject_features(model, "SD", features), None) - expected).abs().max() > 0.1


def test_all_of_them_together(inside_comfyui):
    config, image = tiny.adapter_config(), tiny.hint(*PIXELS)
    features = oracle.reference_features("SD", tiny.adapter_weights(config), image)

    def join(model: Any) -> Any:
        for name in ("a LoRA", "FreeU", "attention patches", "rescaled guidance"):
            model = COMPANIES[name].join(model)
        return model

    company = Company(join, lambda: {**core_control(), **noise_mask()})
    model = base(company)
    expected = run(oracle.inject_features(join(model), "SD", features), company)
    result = run(join(tiny.apply(model, tiny.adapter(config), image)), company)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)


def test_a_hook_brings_an_adapter_to_one_prompt_through_a_control_net(inside_comfyui):
    """Two adapters: one on the MODEL, one on a single prompt; their sum acts on that side only."""
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    config, image = tiny.adapter_config(), tiny.hint(*PIXELS)
    model, adapter, other = tiny.model("SD"), tiny.adapter(config), tiny.adapter(config, 3)
    first = oracle.reference_features("SD", tiny.adapter_weights(config), image)
    second = oracle.reference_features("SD", tiny.adapter_weights(config, 3), image)

    def levels(level: int, h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        rows = [first[level] + (second[level] if side == 0 else 0) for side in options["cond_or_uncond"]]
        return torch.cat(rows)

    net = T2IAdapterToControlNet.execute(other)[0]
    positive, _ = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), net, image)
    result = run(tiny.apply(model, adapter, image), Company(values=lambda: {"positive": positive}))
    torch.testing.assert_close(result, run(oracle.inject(model, "SD", levels), None), **tiny.CLOSE)
