"""ComfyUI's models: structure, prediction type, attention, previews, hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import comfy.controlnet
import comfy.hooks
import comfy.ldm.modules.attention
import comfy.ldm.modules.diffusionmodules.openaimodel as unet_modules
import comfy.model_sampling
import comfy.sd
import comfy.utils
import folder_paths
import latent_preview
import torch
from torch import Tensor

from ...adapter_models.errors import FamilyMismatchError
from ...adapter_models.families import Outline, UNetBlock, UNetOutline
from .transformers import token_outline, transformer_blocks

# Base class of our CONTROL_NET, exported here so that nothing else imports ComfyUI.
CoreT2IAdapter: type[Any] = comfy.controlnet.T2IAdapter


def load_model_clip_vae(path: Path) -> tuple[Any, Any, Any]:
    """Load MODEL, CLIP and VAE from a checkpoint file; missing parts are None."""
    words = folder_paths.get_folder_paths("embeddings")
    model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(str(path), embedding_directory=words)
    return model, clip, vae


def load_unet(path: Path) -> Any:
    """Load a MODEL from a file with a UNet alone, as Load Diffusion Model does."""
    return comfy.sd.load_diffusion_model(str(path))


def load_text_encoders(paths: Sequence[Path]) -> Any:
    """Load a CLIP from files with text encoders, as Load CLIP and DualCLIPLoader do."""
    words = folder_paths.get_folder_paths("embeddings")
    return comfy.sd.load_clip([str(path) for path in paths], embedding_directory=words)


def load_vae(path: Path) -> Any:
    """Load a VAE from a file, as Load VAE does.

    Raises:
        RuntimeError: The file has no VAE.
    """
    weights, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    vae = comfy.sd.VAE(sd=weights, metadata=metadata)
    vae.throw_exception_if_invalid()
    return vae


def unet_outline(model: Any) -> Outline:
    """Read the structure of a MODEL; see :func:`base_outline`."""
    return base_outline(model.model, model.get_model_object("diffusion_model"))


def base_outline(base: Any, unet: Any) -> Outline:
    """Read the structure of a UNet or transformer.

    Args:
        base: ComfyUI's BaseModel.
        unet: Its diffusion model.

    Returns:
        Its blocks.

    Raises:
        FamilyMismatchError: The MODEL is neither a Stable Diffusion UNet nor a known transformer.
    """
    name = f"{type(base.model_config).__name__} ({type(base).__name__})"
    unet = getattr(unet, "_orig_mod", unet)  # compiled by another pack
    tokens = token_outline(name, base, unet)
    if tokens is not None:
        return tokens
    if not isinstance(unet, unet_modules.UNetModel):
        raise FamilyMismatchError(
            "model",
            f"the MODEL {name}, a {type(unet).__name__}",
            "a UNet of Stable Diffusion 1.x, 2.x or SDXL",
            "T2I-Adapters exist for those alone: load such a checkpoint.",
            says="T2I-Adapters exist for SD1.x, SD2.x and SDXL, and this model is another one.",
        )
    stride = base.latent_format.spacial_downscale_ratio
    blocks: list[UNetBlock] = []
    channels = 0
    for index, layers in enumerate(unet.input_blocks):
        shrinks = any(isinstance(layer, unet_modules.Downsample) or getattr(layer, "updown", False) for layer in layers)
        stride *= 2 if shrinks else 1
        channels = next((n for layer in reversed(layers) if isinstance(n := getattr(layer, "out_channels", None), int)),
                        channels)  # fmt: skip
        blocks.append(UNetBlock("input", index, channels, stride, shrinks))
    blocks.append(UNetBlock("middle", 0, channels, stride, computes=unet.middle_block is not None))
    return UNetOutline(name, tuple(blocks))


def plain_attention(_chosen: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Compute attention with torch: not every backend that ComfyUI chooses supports gradients or saves memory."""
    tensors = [_content(each) for each in args]
    attended: Tensor = comfy.ldm.modules.attention.attention_pytorch(*tensors, **kwargs)
    return attended


def _content(value: Any) -> Any:
    # Newer ComfyUI may pass a tensor in a container, so that attention can free it early.
    return value.take() if hasattr(value, "take") and not isinstance(value, Tensor) else value


def prediction_of(model: Any) -> str | None:
    """Return what a MODEL predicts: ``eps`` or ``v`` on SD's noise schedule, or ``flow`` for a transformer."""
    sampling, known = type(model.get_model_object("model_sampling")), comfy.model_sampling
    flows = (known.ModelSamplingFlux, known.ModelSamplingDiscreteFlow)
    if issubclass(sampling, flows) and sampling.calculate_denoised is known.CONST.calculate_denoised:
        scaled = getattr(model.get_model_object("model_sampling"), "noise_scale", 1.0) != 1.0
        known_model = transformer_blocks(model.get_model_object("diffusion_model"))
        return "flow" if known_model and not scaled else None
    rows = ((known.EPS, "eps"), (known.V_PREDICTION, "v"))
    if not issubclass(sampling, known.ModelSamplingDiscrete) or sampling.sigma is not known.ModelSamplingDiscrete.sigma:
        return None
    return next((name for row, name in rows if sampling.calculate_denoised is row.calculate_denoised), None)


def latent_decoder(model: Any, device: torch.device) -> Callable[[Tensor], Any] | None:
    """Return a function that decodes a MODEL's latents to a small PIL picture, or None if ComfyUI has no previewer."""
    layout = model.model.latent_format
    previewer = latent_preview.get_previewer(device, layout)
    if previewer is None and layout.latent_rgb_factors is not None:  # previews are off, but the user asked for these
        rough = latent_preview.Latent2RGBPreviewer
        previewer = rough(layout.latent_rgb_factors, layout.latent_rgb_factors_bias, layout.latent_rgb_factors_reshape)
    return None if previewer is None else previewer.decode_latent_to_preview


def wrapper_hooks(wrappers: dict[str, dict[str, list[Any]]]) -> Any:
    """Return hooks that add wrappers for the prompts that carry them.

    Args:
        wrappers: Lists of functions by key, by type of WrappersMP.
    """
    group = comfy.hooks.HookGroup()
    group.add(comfy.hooks.WrapperHook({"wrappers": wrappers}))
    return group
