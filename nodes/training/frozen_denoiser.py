"""A MODEL's UNet as a frozen denoiser: gradients pass through it into an adapter's features, and change nothing in it.

Speaks ComfyUI's dictionaries (``transformer_options``, conds) but imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...adapter_models.families import Block
from ...common.fingerprints import weights_fingerprint
from ...training.errors import TrainingError
from ...training.loss import PREDICTIONS, Denoiser, Prompts
from ...training.prompts import join_rows
from .. import host

WHERE = "Train T2I-Adapter"
# What a prompt can carry that acts in a sampler alone: trained without it, the adapter would learn another thing.
SAMPLER_ONLY = ("control", "area", "mask", "hooks", "gligen", "start_percent", "end_percent", "concat_latent_image")


@dataclass(frozen=True)
class Recovery:
    """How a prediction is found in what ComfyUI makes of it.

    Attributes:
        name: The prediction.
        recover: (noisy latents at ComfyUI's scale, denoised latents, sigma) -> prediction.
    """

    name: str
    recover: Callable[[Tensor, Tensor, Tensor], Tensor]


RECOVERIES = (
    Recovery("eps", lambda x, denoised, sigma: (x - denoised) / sigma),
    Recovery("v", lambda x, denoised, sigma: (x / (sigma**2 + 1) - denoised) * (sigma**2 + 1).sqrt() / sigma),
)


@dataclass(frozen=True, eq=False)
class AddFeatures:
    """The patches that add features at the sites of one forward. The sums are new tensors, as gradients need them.

    Attributes:
        features: (kind, index) of a block -> feature map.
    """

    features: Mapping[tuple[str, int], Tensor]

    def after_input(self, h: Tensor, transformer_options: Mapping[str, Any]) -> Tensor:
        """Add to the output of an input block, if it is a site."""
        feature = self.features.get(transformer_options["block"])
        return h if feature is None else h + feature.to(h.dtype)

    def after_middle(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Add to the output of the middle block, if it is a site."""
        feature = self.features.get(("middle", 0))
        h = args["h"]
        return {**args, "h": h if feature is None else h + feature.to(h.dtype)}


@dataclass(frozen=True, eq=False)
class FrozenUNet:
    """Calls a UNet as the trainer wants it.

    Attributes:
        apply_model: ComfyUI's BaseModel.apply_model.
        sites: The block that each level of the adapter is added to.
        sigmas: (T,) sigma of each time.
        recovery: What it predicts.
    """

    apply_model: Callable[..., Tensor]
    sites: tuple[Block, ...]
    sigmas: Tensor
    recovery: Recovery

    def __call__(self, noisy: Tensor, times: Tensor, prompts: Prompts, features: list[Tensor]) -> Tensor:
        """Predict; see :data:`..training.loss.Denoise`."""
        sigma = self.sigmas.to(noisy)[times]
        at_sites = ((site.kind, site.index) for site in self.sites)
        patches = AddFeatures(dict(zip(at_sites, features, strict=True)))
        options = {
            "patches": {
                "input_block_patch": [patches.after_input],
                "middle_block_after_patch": [patches.after_middle],
            },
            "optimized_attention_override": host.plain_attention,
            "cond_or_uncond": [0],
            "sigmas": sigma,
        }
        each = sigma.view(-1, 1, 1, 1)
        x = noisy * (each**2 + 1).sqrt()  # the noisy latents keep their variance in training, and grow in ComfyUI
        denoised = self.apply_model(x, sigma, transformer_options=options, **prompts)
        return self.recovery.recover(x, denoised, each)


def frozen_denoiser(model: Any, sites: tuple[Block, ...]) -> Denoiser:
    """Make a denoiser of a loaded MODEL.

    Args:
        model: From :func:`.host.training`.
        sites: The blocks that the adapter's levels are added to.

    Returns:
        The denoiser; the MODEL's weights take no gradients.
    """
    base = model.model
    keep_for_gradients(base)
    # A copy: what was made in inference mode can't take part in gradients.
    sigmas = model.get_model_object("model_sampling").sigmas.detach().float().clone()
    name = host.prediction_of(model)
    recovery = next(row for row in RECOVERIES if row.name == name)
    prediction = next(row for row in PREDICTIONS if row.name == name)
    unet = base.diffusion_model
    return Denoiser(
        FrozenUNet(base.apply_model, sites, sigmas, recovery),
        1 / (sigmas**2 + 1),
        prediction,
        half=base.get_dtype_inference() == torch.float16,
        blocks=unet_blocks(unet),
        identity=weights_fingerprint(unet.parameters()),
    )


def unet_blocks(unet: Any) -> tuple[nn.Module, ...]:
    """Return the layers of a UNet's blocks: residual blocks, attention, and what changes the size.

    What they note in ``transformer_options`` is different when they are called again, and only patches inside of them
    would read it: :class:`FrozenUNet` has none.
    """
    middle = [] if unet.middle_block is None else [unet.middle_block]
    return tuple(layer for block in (*unet.input_blocks, *middle, *unet.output_blocks) for layer in block)


def keep_for_gradients(network: nn.Module) -> None:
    """Let gradients pass through a network that was loaded in inference mode, and stop them at its weights.

    Each weight of inference mode is put by a copy in its place, one at a time, so that memory never holds two networks.
    """
    network.requires_grad_(False)
    for module in network.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.is_inference():
                setattr(module, name, nn.Parameter(weight.detach().clone(), requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_inference():
                setattr(module, name, buffer.clone())


def prompt_rows(model: Any, conditioning: Sequence[Any], latents: Tensor) -> dict[str, Tensor]:
    """Turn CONDITIONING into rows of what the UNet is called with.

    Args:
        model: The MODEL.
        conditioning: ComfyUI's list of (embedding, extras).
        latents: (N, C, h, w), for what follows from their size.

    Returns:
        Argument of ``apply_model`` -> one row per prompt.

    Raises:
        TrainingError: No prompts, prompts of different kinds, or with extras that act in a sampler alone.
    """
    if not conditioning:
        raise TrainingError(f"{WHERE}, positive", "no prompts", "at least one", "Connect CLIP Text Encode.")
    prompts = [_arguments(model, embedding, extras, latents) for embedding, extras in conditioning]
    names = set(prompts[0])
    if any(set(prompt) != names for prompt in prompts):
        raise TrainingError(
            f"{WHERE}, positive", "prompts of different kinds", "prompts of one text encoder", "Encode all alike."
        )
    return {name: join_rows([prompt[name] for prompt in prompts]) for name in names}


def _arguments(model: Any, embedding: Tensor, extras: Mapping[str, Any], latents: Tensor) -> dict[str, Tensor]:
    found = [name for name in SAMPLER_ONLY if name in extras]
    if found:
        raise TrainingError(
            f"{WHERE}, positive",
            f"a prompt with {', '.join(found)}",
            "prompts as the text encoder gives them",
            "Connect CLIP Text Encode directly: ControlNets, areas and masks act in a sampler alone.",
        )
    width = getattr(model.model.model_config, "unet_config", {}).get("context_dim")
    if embedding.ndim != 3 or 0 in embedding.shape or width not in (None, embedding.shape[-1]):
        raise TrainingError(
            f"{WHERE}, positive",
            f"an embedding of shape {tuple(embedding.shape)}",
            f"(1, tokens, {width or 'width'}), as this MODEL takes it",
            "Encode the prompts with the text encoder of the same checkpoint.",
        )
    cell = model.model.latent_format.spacial_downscale_ratio
    defaults = {"width": latents.shape[-1] * cell, "height": latents.shape[-2] * cell}
    noise = torch.zeros_like(latents[:1])
    values = {**defaults, **extras, "cross_attn": embedding, "noise": noise, "latent_image": noise}
    try:
        conds = model.model.extra_conds(**values, device=noise.device, prompt_type="positive")
    except KeyError as missing:
        raise TrainingError(
            f"{WHERE}, positive", f"prompts without {missing}", "prompts for this MODEL", "Use its own text encoders."
        ) from missing
    except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise TrainingError(
            f"{WHERE}, positive",
            f"prompts that don't fit ({error})",
            "prompts for this MODEL",
            "Connect CLIP Text Encode.",
        ) from error
    return {name: cond.cond.detach().float().clone() for name, cond in conds.items()}
