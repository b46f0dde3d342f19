"""ComfyUI's sampler outside a workflow: prompts, pictures, and ControlNets as KSampler and its neighbours use them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.controlnet
import comfy.sample
import comfy.samplers
import torch
from torch import Tensor


@dataclass(frozen=True)
class SamplerSettings:
    """The widgets of KSampler, without the seed. ComfyUI replaces an unknown name by its first one, and only logs it.

    Attributes:
        sampler: A name of :func:`sampler_names`.
        scheduler: A name of :func:`scheduler_names`.
        steps: Number of steps.
        cfg: Guidance scale.
    """

    sampler: str
    scheduler: str
    steps: int
    cfg: float


def sampler_names() -> list[str]:
    """Return the samplers of KSampler."""
    return list(comfy.samplers.KSampler.SAMPLERS)


def scheduler_names() -> list[str]:
    """Return the schedulers of KSampler."""
    return list(comfy.samplers.KSampler.SCHEDULERS)


def encode_prompt(clip: Any, text: str) -> list[Any]:
    """Encode a prompt as CLIP Text Encode does.

    Args:
        clip: A CLIP.
        text: The prompt, in the text encoder's syntax.

    Returns:
        The CONDITIONING.
    """
    encoded: list[Any] = clip.encode_from_tokens_scheduled(clip.tokenize(text))
    return encoded


@torch.inference_mode()
def sample_picture(
    model: Any, vae: Any, prompts: tuple[list[Any], list[Any]], size: tuple[int, int], seed: int, how: SamplerSettings
) -> Tensor:
    """Make one picture as Empty Latent Image, KSampler and VAE Decode do.

    Args:
        model: The MODEL.
        vae: The VAE.
        prompts: Positive and negative CONDITIONING.
        size: Height and width in pixels, multiples of 8.
        seed: Seed of the noise.
        how: The sampler's settings.

    Returns:
        (1, H, W, 3) in [0, 1], on the CPU: bit for bit the picture of a workflow with these inputs.
    """
    layout = model.model.latent_format
    side = layout.spacial_downscale_ratio
    latent = torch.zeros(1, layout.latent_channels, size[0] // side, size[1] // side)
    noise = comfy.sample.prepare_noise(latent, seed)
    settings = (how.steps, how.cfg, how.sampler, how.scheduler)
    samples = comfy.sample.sample(model, noise, *settings, *prompts, latent, disable_pbar=True, seed=seed)
    picture: Tensor = vae.decode(samples)
    return picture.cpu().clamp(0, 1)


def load_control_net(path: Path) -> Any:
    """Load a ControlNet; None if the file is not one that ComfyUI knows."""
    return comfy.controlnet.load_controlnet(str(path))


def with_control_net(
    prompts: tuple[list[Any], list[Any]], control_net: Any, image: Tensor, strength: float, vae: Any
) -> tuple[list[Any], list[Any]]:
    """Attach a ControlNet to prompts, as Apply ControlNet does.

    Args:
        prompts: Positive and negative CONDITIONING; not changed.
        control_net: The ControlNet.
        image: Condition image (1, H, W, 3) in [0, 1].
        strength: Its strength.
        vae: The VAE, for those that encode their image.

    Returns:
        The prompts with the ControlNet.
    """
    control = control_net.copy().set_cond_hint(image.movedim(-1, 1), strength, (0.0, 1.0), vae)
    added = {"control": control, "control_apply_to_uncond": False}
    positive, negative = ([[text, {**values, **added}] for text, values in prompt] for prompt in prompts)
    return positive, negative
