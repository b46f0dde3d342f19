"""Tiny random models in the real ComfyUI: UNets with SD's and SDXL's layout and ratios, and matching adapters."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from t2i_adapter_pack.adapter_models import networks

WIDTHS = (32, 64, 128, 128)
CONTEXT = 64
# For equal results whose rounding differs (another batch size, another order of sums): these latents spread by 100.
CLOSE = {"rtol": 0, "atol": 1e-2}
UNETS: dict[str, dict[str, Any]] = {
    "SD": {"channel_mult": (1, 2, 4, 4), "num_res_blocks": 2, "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0]},
    "SDXL": {"channel_mult": (1, 2, 4), "num_res_blocks": 2, "transformer_depth": [0, 0, 1, 1, 1, 1]},
    # Refiner: SD's four resolutions at other widths.
    "refiner": {
        "channel_mult": (1, 2, 4, 4),
        "num_res_blocks": 2,
        "transformer_depth": [0, 0, 1, 1, 1, 1, 0, 0],
        "model_channels": 64,
    },
    # KOALA and the like: fewer blocks a level, and no middle.
    "one block": {"channel_mult": (1, 2, 4), "num_res_blocks": 1, "transformer_depth": [0, 1, 1]},
    "no middle": {
        "channel_mult": (1, 2, 4),
        "num_res_blocks": 1,
        "transformer_depth": [0, 1, 1],
        "transformer_depth_middle": -2,
    },
}


def unet_config(kind: str, **changes: Any) -> dict[str, Any]:
    """The arguments of ComfyUI's UNetModel for one of UNETS."""
    config = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 32,
        "num_head_channels": 32,
        "use_spatial_transformer": True,
        "context_dim": CONTEXT,
        "legacy": False,
        "dtype": torch.float32,
        "transformer_depth_middle": 1,
        **UNETS[kind],
        **changes,
    }
    depth = config["transformer_depth"]
    blocks = config["num_res_blocks"]
    # Decoder levels mirror the encoder's, with one block more each.
    levels = [depth[i : i + blocks] for i in range(0, len(depth), blocks)]
    config["transformer_depth_output"] = [d for level in levels for d in [*level, level[-1]]]
    config["transformer_depth"] = list(depth)
    config["num_res_blocks"] = [blocks] * len(config["channel_mult"])
    return config


def model(kind: str = "SD", *, seed: int = 0, manual_cast: torch.dtype | None = None, **changes: Any) -> Any:
    """A MODEL (ModelPatcher) with a random UNet, the same for the same seed."""
    import comfy.latent_formats
    import comfy.model_base
    import comfy.model_management
    import comfy.model_patcher
    import comfy.supported_models_base

    class Tiny(comfy.supported_models_base.BASE):
        latent_format = comfy.latent_formats.SD15
        memory_usage_factor = 1.0
        unet_extra_config: dict[str, Any] = {}  # noqa: RUF012 - as ComfyUI declares it

    config = Tiny(unet_config(kind, **changes))
    config.manual_cast_dtype = manual_cast
    base = comfy.model_base.BaseModel(config, device=torch.device("cpu"))
    randomise(base.diffusion_model, seed)
    return comfy.model_patcher.CoreModelPatcher(
        base,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def other_models() -> dict[str, Any]:
    """MODELs with other networks, by name."""
    import comfy.latent_formats as formats
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models as supported

    flux = {
        "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 16, "context_in_dim": 16,
        "hidden_size": 32, "mlp_ratio": 2.0, "num_heads": 2, "depth": 1, "depth_single_blocks": 1, "theta": 10000,
        "axes_dim": [4, 6, 6], "patch_size": 2, "qkv_bias": True, "guidance_embed": False, "txt_ids_dims": [],
    }  # fmt: skip
    cascade = {
        "stable_cascade_stage": "c", "c_cond": 16, "c_hidden": [16, 16], "nhead": [2, 2], "blocks": [[1, 1], [1, 1]],
        "c_clip_text": 16, "c_clip_text_pooled": 16, "c_clip_img": 16,
    }  # fmt: skip

    made: dict[str, Any] = {}
    for name, row, kind, config, latent in (
        ("Flux", supported.Flux, comfy.model_base.Flux, flux, formats.Flux()),
        ("StageC", supported.Stable_Cascade_C, comfy.model_base.StableCascade_C, cascade, formats.SC_Prior()),
    ):
        settings = row(dict(config))
        settings.latent_format = latent
        base = kind(settings, device=torch.device("cpu"))
        cpu = torch.device("cpu")
        made[name] = comfy.model_patcher.CoreModelPatcher(base, load_device=cpu, offload_device=cpu)
    return made


def randomise(module: torch.nn.Module, seed: int, scale: float = 1.0) -> None:
    """Initialise every parameter with moderate random numbers; ComfyUI's layers are uninitialised."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * scale / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(1.0 + 0.1 * noise if name.endswith("weight") else 0.1 * noise)


def adapter_config(kind: str = "SD", /, image_channels: int = 3, **changes: Any) -> networks.AdapterConfig:
    """The shape of a small full adapter for one of the families."""
    values: dict[str, Any] = {
        "kind": "full",
        "image_channels": image_channels,
        "unshuffle": 16 if kind == "SDXL" else 8,
        "channels": WIDTHS,
        "down_levels": (2,) if kind == "SDXL" else (1, 2, 3),
        "num_res_blocks": 2,
        **changes,
    }
    return networks.AdapterConfig(**values)


def adapter_weights(config: networks.AdapterConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights in the original layout."""
    network = networks.build_adapter(config)
    randomise(network, seed)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def save_adapter(folder: Path, config: networks.AdapterConfig, seed: int = 0, name: str = "adapter") -> Path:
    """Write random weights as a file."""
    path = folder / f"{name}.safetensors"
    save_file(adapter_weights(config, seed), path)
    return path


def adapter(
    config: networks.AdapterConfig, seed: int = 0, *, bgr: bool = False, dtype: Any = None, name: str = "adapter"
) -> Any:
    """A T2I_ADAPTER, as Load T2I-Adapter gives it."""
    import tempfile

    from t2i_adapter_pack.nodes.loading import adapters

    with tempfile.TemporaryDirectory() as folder:
        path = save_adapter(Path(folder), config, seed)
        return adapters.wrap_adapter(path, name, None, bgr=bgr, dtype=dtype)


def core_control(config: networks.AdapterConfig, seed: int = 0) -> Any:
    """ComfyUI core's own CONTROL_NET with the same weights."""
    import comfy.controlnet

    return comfy.controlnet.load_t2i_adapter(adapter_weights(config, seed))


def real_control_net(kind: str = "SD", seed: int = 4) -> Any:
    """A CONTROL_NET with a real ControlNet: a copy of the encoder that runs at every step."""
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.ops

    config = unet_config(kind, hint_channels=3)
    del config["transformer_depth_output"]
    network = comfy.cldm.cldm.ControlNet(operations=comfy.ops.disable_weight_init, device="cpu", **config)
    randomise(network, seed, scale=0.7)
    return comfy.controlnet.ControlNet(network, load_device=torch.device("cpu"))


def hint(height: int, width: int, count: int = 1, seed: int = 0, channels: int = 3) -> torch.Tensor:
    """Random condition images, IMAGE (B, H, W, C)."""
    return torch.rand(count, height, width, channels, generator=torch.Generator().manual_seed(seed))


def conditioning(seed: int, **values: Any) -> list[Any]:
    """CONDITIONING with random text embeddings."""
    text = torch.randn(1, 77, CONTEXT, generator=torch.Generator().manual_seed(seed))
    return [[text, dict(values)]]


def sample(
    patched: Any,
    latent: torch.Tensor,
    *,
    cfg: float = 5.0,
    steps: int = 4,
    positive: list[Any] | None = None,
    negative: list[Any] | None = None,
    seed: int = 0,
    sampler: str = "euler",
    scheduler: str = "normal",
    denoise: float = 1.0,
    **values: Any,
) -> torch.Tensor:
    """Run ComfyUI's sampler as KSampler does."""
    import comfy.sample

    noise = comfy.sample.prepare_noise(latent, seed)
    with torch.inference_mode():
        return comfy.sample.sample(
            patched,
            noise,
            steps,
            cfg,
            sampler,
            scheduler,
            positive if positive is not None else conditioning(1),
            negative if negative is not None else conditioning(2),
            latent,
            denoise=denoise,
            disable_pbar=True,
            seed=seed,
            **values,
        )


def latent(height: int, width: int, count: int = 1) -> torch.Tensor:
    """An empty latent (B, 4, h, w)."""
    return torch.zeros(count, 4, height, width)


def apply(patched: Any, adapter: Any, image: torch.Tensor, **values: Any) -> Any:
    """Run the node Apply T2I-Adapter."""
    from t2i_adapter_pack.nodes.apply import ApplyT2IAdapter

    return ApplyT2IAdapter.execute(patched, adapter, image, **values)[0]


def apply_core(positive: list[Any], negative: list[Any], control: Any, image: torch.Tensor, **values: Any) -> Any:
    """Run ComfyUI core's node ControlNetApplyAdvanced."""
    import nodes

    settings = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, **values}
    return nodes.ControlNetApplyAdvanced().apply_controlnet(positive, negative, control, image, **settings)


class Count:
    """How often a network's forward ran."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.calls = 0
        network.register_forward_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.calls += 1


def left_of_runs() -> list[Any]:
    """The live run states."""
    from t2i_adapter_pack.adapter_models.stack import ResidualComputer
    from t2i_adapter_pack.nodes.sampling.state import SamplingState

    gc.collect()
    return [thing for thing in gc.get_objects() if isinstance(thing, (SamplingState, ResidualComputer))]
