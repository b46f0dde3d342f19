"""Tiny random transformers (DiT) in the real ComfyUI, one per family, and adapters for them."""

from __future__ import annotations

from typing import Any

import torch
from t2i_adapter_pack.adapter_models.config import AdapterConfig

from .tiny import randomise

WIDTH, CONTEXT, BLOCKS, STRIDE = 64, 48, 8, 16
_FLUX = {
    "in_channels": 16, "out_channels": 16, "vec_in_dim": 16, "context_in_dim": CONTEXT, "hidden_size": WIDTH,
    "mlp_ratio": 2.0, "num_heads": 2, "depth": BLOCKS, "depth_single_blocks": 2, "theta": 10000,
    "axes_dim": [8, 12, 12], "patch_size": 2, "qkv_bias": True, "guidance_embed": False, "txt_ids_dims": [],
}  # fmt: skip
_LUMINA = {
    "image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": WIDTH, "n_layers": BLOCKS, "n_heads": 2,
    "n_kv_heads": 2, "cap_feat_dim": CONTEXT, "qk_norm": True, "axes_dims": [8, 12, 12], "axes_lens": [64, 64, 64],
    "n_refiner_layers": 1, "multiple_of": 16,
}  # fmt: skip
# ComfyUI's row of supported models, and the arguments of its network.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "Flux": ("Flux", {"image_model": "flux", **_FLUX}),
    "Flux.2": ("Flux2", {
        "image_model": "flux2", **_FLUX, "in_channels": 128, "out_channels": 128, "patch_size": 1, "vec_in_dim": None,
        "global_modulation": True, "mlp_silu_act": True, "ops_bias": False, "qkv_bias": False,
        "axes_dim": [8, 8, 8, 8], "txt_ids_dims": [3],
    }),
    "Chroma": ("Chroma", {
        "image_model": "chroma", **{key: value for key, value in _FLUX.items() if key != "guidance_embed"},
        "in_channels": 64, "out_channels": 64, "in_dim": 64, "out_dim": WIDTH, "hidden_dim": 32, "n_layers": 1,
    }),
    "Qwen-Image": ("QwenImage", {
        "image_model": "qwen_image", "in_channels": 64, "out_channels": 16, "num_layers": BLOCKS,
        "attention_head_dim": 32, "num_attention_heads": 2, "joint_attention_dim": CONTEXT,
        "axes_dims_rope": (8, 12, 12),
    }),
    "Lumina 2": ("Lumina2", dict(_LUMINA)),
    # Its modulation takes 256 numbers.
    "Z-Image": ("Lumina2", {
        **_LUMINA, "dim": 256, "axes_dims": [32, 48, 48], "pad_tokens_multiple": 32, "z_image_modulation": True,
        "time_scale": 1000.0,
    }),
}  # fmt: skip


def model(family: str, seed: int = 0) -> Any:
    """A MODEL (ModelPatcher) with a random transformer in fp32, the same for the same seed."""
    import comfy.model_patcher
    import comfy.supported_models as supported

    name, config = CONFIGS[family]
    settings = getattr(supported, name)({**config, "dtype": torch.float32})
    base = settings.get_model({}, device=torch.device("cpu"))
    randomise(base.diffusion_model, seed)
    cpu = torch.device("cpu")
    return comfy.model_patcher.CoreModelPatcher(base, load_device=cpu, offload_device=cpu)


def adapter_config(family: str = "Flux") -> AdapterConfig:
    """The shape of a small adapter for a transformer."""
    width, stride = 256 if family == "Z-Image" else WIDTH, STRIDE
    return AdapterConfig("light", 3, stride, (width,) * 4, (), 1, (16,) * 4)


def latent(patched: Any, height: int, width: int, count: int = 1) -> torch.Tensor:
    """An empty latent of as many channels as the MODEL's has, for a picture of this size in pixels."""
    layout = patched.model.latent_format
    cell, frames = layout.spacial_downscale_ratio, (1,) * (layout.latent_dimensions - 2)
    return torch.zeros(count, layout.latent_channels, *frames, height // cell, width // cell)


def conditioning(seed: int, **values: Any) -> list[Any]:
    """CONDITIONING with random text embeddings."""
    text = torch.randn(1, 12, CONTEXT, generator=torch.Generator().manual_seed(seed))
    return [[text, {"pooled_output": torch.zeros(1, 16), "guidance": 0.0, **values}]]
