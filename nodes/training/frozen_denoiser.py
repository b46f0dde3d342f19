"""A MODEL's network as a frozen denoiser: gradients flow through it to the adapter's features; its weights are fixed.

Uses ComfyUI's dictionaries (``transformer_options``, conds) but does not import ComfyUI.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...adapter_models.families import UNetBlock
from ...common.fingerprints import weights_fingerprint
from ...training.errors import TrainingError
from ...training.loss import PREDICTIONS, Denoiser, Prompts
from ...training.prompts import join_rows
from .. import host
from .injection import injection_of

TRAIN_NODE = "Train T2I-Adapter"
# Extras of a prompt that only a sampler applies. Training would ignore them, so prompts with them are rejected.
SAMPLER_ONLY = ("control", "area", "mask", "hooks", "gligen", "start_percent", "end_percent", "concat_latent_image")


@dataclass(frozen=True)
class Recovery:
    """How to recover a model's prediction from ComfyUI's denoised latents.

    Attributes:
        name: Type of prediction.
        recover: (noisy latents at ComfyUI's scale, denoised latents, sigma) -> prediction.
        scale: sigma -> ComfyUI's scale of noisy latents over the trainer's.
        alpha: sigma -> the square of the latents' factor in the trainer's noisy latents.
    """

    name: str
    recover: Callable[[Tensor, Tensor, Tensor], Tensor]
    # Training preserves the variance; ComfyUI scales the latents of UNets by sqrt(sigma² + 1).
    scale: Callable[[Tensor], Tensor] = lambda sigma: (sigma**2 + 1).sqrt()
    alpha: Callable[[Tensor], Tensor] = lambda sigma: 1 / (sigma**2 + 1)


RECOVERIES = (
    Recovery("eps", lambda x, denoised, sigma: (x - denoised) / sigma),
    Recovery("v", lambda x, denoised, sigma: (x / (sigma**2 + 1) - denoised) * (sigma**2 + 1).sqrt() / sigma),
    Recovery(
        "flow", lambda x, denoised, sigma: (x - denoised) / sigma, torch.ones_like, lambda sigma: (1 - sigma) ** 2
    ),
)
# The trainer's timesteps; ComfyUI divides the time of Flux ten times finer.
_TIMESTEPS = 1000


@dataclass(frozen=True, eq=False)
class FrozenModel:
    """Call a UNet or transformer through the trainer's interface.

    Attributes:
        apply_model: ComfyUI's BaseModel.apply_model.
        sites: The block that each level of the adapter is added to.
        sigmas: (T,) sigma of each timestep.
        recovery: Recovers the prediction.
        frames: The model takes latents with an axis of frames, (B, C, 1, h, w).
    """

    apply_model: Callable[..., Tensor]
    sites: tuple[UNetBlock, ...]
    sigmas: Tensor
    recovery: Recovery
    frames: bool = False

    def __call__(self, noisy: Tensor, timesteps: Tensor, prompts: Prompts, features: list[Tensor]) -> Tensor:
        """Predict; see :data:`..training.loss.Denoise`."""
        sigma = self.sigmas.to(noisy)[timesteps]
        options = {
            **injection_of(self.sites, features),
            "optimized_attention_override": host.plain_attention,
            "cond_or_uncond": [0],
            "sigmas": sigma,
        }
        each = sigma.view(-1, 1, 1, 1)
        x = noisy * self.recovery.scale(each)
        given = x.unsqueeze(2) if self.frames else x
        denoised = self.apply_model(given, sigma, transformer_options=options, **prompts)
        return self.recovery.recover(x, denoised.squeeze(2) if self.frames else denoised, each)


def frozen_denoiser(model: Any, sites: tuple[UNetBlock, ...]) -> Denoiser:
    """Build a denoiser from a loaded MODEL.

    Args:
        model: From :func:`.host.ready_to_train`.
        sites: The blocks that the adapter's levels are added to.

    Returns:
        The denoiser; the MODEL's weights take no gradients.
    """
    base = model.model
    keep_for_gradients(base)
    # Cloned: tensors made in inference mode can't be used by autograd.
    sigmas = model.get_model_object("model_sampling").sigmas.detach().float().clone()
    sigmas = sigmas[len(sigmas) // _TIMESTEPS - 1 :: len(sigmas) // _TIMESTEPS]
    name = host.prediction_of(model)
    recovery = next(row for row in RECOVERIES if row.name == name)
    prediction = next(row for row in PREDICTIONS if row.name == name)
    unet = base.diffusion_model
    return Denoiser(
        FrozenModel(base.apply_model, sites, sigmas, recovery, base.latent_format.latent_dimensions > 2),
        recovery.alpha(sigmas),
        prediction,
        half=base.get_dtype_inference() == torch.float16,
        blocks=blocks_of(unet, sites),
        overwrites=name == "flow",
        identity=weights_fingerprint(unet.parameters()),
    )


def known_denoiser(model: Any) -> dict[str, str]:
    """Return the identity of a MODEL's denoiser as a fact of a run, if it is known before the MODEL is loaded.

    Args:
        model: The MODEL. Under dynamic VRAM its weights are not in memory yet.
    """
    if model.is_dynamic():
        return {}
    return {"denoiser": weights_fingerprint(model.model.diffusion_model.parameters())}


def blocks_of(model: Any, sites: Sequence[UNetBlock]) -> tuple[nn.Module, ...]:
    """Return the layers of a UNet's blocks (residual, attention, up- and downsampling), or a transformer's blocks.

    When a layer is recomputed, the values it writes to ``transformer_options`` differ. Only patches inside layers
    would read them, and :class:`FrozenModel` has none.

    Args:
        model: The UNet or transformer.
        sites: The blocks that the adapter's levels are added to.
    """
    if any(site.part in ("tokens", "block") for site in sites):
        return host.transformer_blocks(model)
    middle = [] if model.middle_block is None else [model.middle_block]
    return tuple(layer for block in (*model.input_blocks, *middle, *model.output_blocks) for layer in block)


def keep_for_gradients(network: nn.Module) -> None:
    """Let gradients flow through a network loaded in inference mode, but not into its weights.

    Replaces inference-mode weights by copies, one at a time, so that memory never holds two networks.
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
    """Convert CONDITIONING to the UNet's arguments, one row per prompt.

    Args:
        model: The MODEL.
        conditioning: ComfyUI's list of (embedding, extras).
        latents: (N, C, h, w); some arguments depend on their size.

    Returns:
        Rows by argument of ``apply_model``.

    Raises:
        TrainingError: There are no prompts, they differ in type, or they have extras that only a sampler applies.
    """
    if not conditioning:
        raise TrainingError(
            f"{TRAIN_NODE}, positive",
            "no prompts",
            "at least one",
            "Connect CLIP Text Encode.",
            says="There are no prompts.",
        )
    prompts = [_arguments(model, embedding, extras, latents) for embedding, extras in conditioning]
    names = set(prompts[0])
    if any(set(prompt) != names for prompt in prompts):
        raise TrainingError(
            f"{TRAIN_NODE}, positive",
            "prompts with different parts",
            "prompts of one text encoder",
            "Encode all prompts with the same node.",
            says="The prompts come from different text encoders.",
        )
    lengths = sorted({each.shape[1] for prompt in prompts for each in prompt.values() if each.ndim == 3})
    if len(lengths) > 1 and host.transformer_blocks(model.model.diffusion_model):
        # Tokens can't be repeated to one length here: text and image share one attention.
        raise TrainingError(
            f"{TRAIN_NODE}, positive",
            f"prompts of {', '.join(map(str, lengths))} tokens",
            "prompts of one length, which transformers need",
            "Write prompts of about the same length, or use a text encoder that fills them up.",
            says="The prompts have different lengths.",
        )
    return {name: join_rows([prompt[name] for prompt in prompts]) for name in names}


def _arguments(model: Any, embedding: Tensor, extras: Mapping[str, Any], latents: Tensor) -> dict[str, Tensor]:
    found = [name for name in SAMPLER_ONLY if name in extras]
    if found:
        raise TrainingError(
            f"{TRAIN_NODE}, positive",
            f"a prompt with {', '.join(found)}",
            "prompts as the text encoder gives them",
            "Connect CLIP Text Encode directly: only samplers apply ControlNets, areas and masks.",
            says="A prompt has settings that training can't apply.",
        )
    width = getattr(model.model.model_config, "unet_config", {}).get("context_dim")
    if embedding.ndim != 3 or 0 in embedding.shape or width not in (None, embedding.shape[-1]):
        raise TrainingError(
            f"{TRAIN_NODE}, positive",
            f"an embedding of shape {tuple(embedding.shape)}",
            f"(1, tokens, {width or 'width'}), as this MODEL takes it",
            "Encode the prompts with the text encoder of the same checkpoint.",
            says="A prompt was encoded for another kind of model.",
        )
    cell = model.model.latent_format.spacial_downscale_ratio
    defaults = {"width": latents.shape[-1] * cell, "height": latents.shape[-2] * cell}
    noise = torch.zeros_like(latents[:1])
    values = {**defaults, **extras, "cross_attn": embedding, "noise": noise, "latent_image": noise}
    try:
        conds = model.model.extra_conds(**values, device=noise.device, prompt_type="positive")
    except KeyError as missing:
        raise TrainingError(
            f"{TRAIN_NODE}, positive",
            f"prompts without {missing}",
            "prompts for this MODEL",
            "Use its own text encoders.",
            says="A prompt lacks a part that this MODEL needs.",
        ) from missing
    except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise TrainingError(
            f"{TRAIN_NODE}, positive",
            f"prompts that don't fit ({error})",
            "prompts for this MODEL",
            "Connect CLIP Text Encode.",
            says="A prompt does not fit this MODEL.",
        ) from error
    return {name: _row(cond.cond) for name, cond in conds.items()}


def _row(value: Any) -> Tensor:
    """Return a prompt's argument as a row, also a constant."""
    return value.detach().float().clone() if isinstance(value, Tensor) else torch.tensor([float(value)])
