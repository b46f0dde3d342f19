"""Random models of the published sizes in the real ComfyUI, and the variants of applying an adapter."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...adapter_models import networks
from ..tasks import in_process

VARIANTS = ("bare", "ours", "core", "ours ×4", "core ×4")


@dataclass(frozen=True)
class Scale:
    """What to measure.

    Attributes:
        device: Device to compute on.
        family: Family of the UNet and the adapter.
        tiny: Tiny networks for smoke runs, whose figures are meaningless.
        narrow: Factor by which the networks are narrower than the published ones.
        precision: Precision of the UNet; None for ComfyUI's choice.
    """

    device: torch.device
    family: str = "SD"
    tiny: bool = False
    narrow: int = 1
    precision: torch.dtype | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the UNet."""
        return self.precision or (torch.float16 if self.device.type == "cuda" else torch.float32)

    @property
    def width(self) -> int:
        """Channels of the first level."""
        return 32 if self.tiny else 320 // self.narrow

    @property
    def head(self) -> int:
        """Channels of a head of SDXL's attention."""
        return 32 if self.tiny else 64

    @property
    def context(self) -> int:
        """Width of a prompt's embedding."""
        return 2048 if self.family == "SDXL" else 768


def start_comfyui(device: str) -> torch.device:
    """Make the real ComfyUI importable in this process; call it before any import of ComfyUI.

    Args:
        device: ``cpu`` or ``cuda``.

    Returns:
        The device that ComfyUI computes on.
    """
    path = os.environ.get("COMFYUI_PATH")
    if not path or not Path(path, "comfy").is_dir():
        sys.exit(f"benchmarks: got COMFYUI_PATH={path}; expected ComfyUI's folder. Use `python3 run.py benchmarks`.")
    # torch's counters miss allocations of dynamic VRAM, and its patcher requires weights that it has read itself.
    return in_process.start(Path(path), Path(_scratch()), ["--disable-dynamic-vram"], cpu=device == "cpu")


def randomise(module: torch.nn.Module, seed: int) -> None:
    """Initialise every parameter so that activations stay near one; ComfyUI's layers are uninitialised."""
    first = next(module.parameters())
    generator = torch.Generator(first.device).manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
            else:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)


def unet(scale: Scale, *, whole: bool = False) -> Any:
    """Make a MODEL with a random UNet of SD1.5's or SDXL's structure.

    Args:
        scale: Its size.
        whole: Include attention in all its places, even in a tiny model.
    """
    import comfy.model_management
    import comfy.model_patcher
    import comfy.supported_models

    xl = scale.family == "SDXL"
    depth = [0, 0, 2, 2, 10, 10] if xl else [1, 1, 1, 1, 1, 1, 0, 0]
    if scale.tiny and not whole:
        depth = [0, 0, 0, 0, 0, 1] if xl else [0, 0, 0, 0, 0, 1, 0, 0]
    # The decoder mirrors the encoder, with one more block in each level.
    mirrored = [d for level in range(0, len(depth), 2) for d in (*depth[level : level + 2], depth[level + 1])]
    described = comfy.supported_models.SDXL if xl else comfy.supported_models.SD15
    shape = {"image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": scale.width}
    shape |= {"channel_mult": (1, 2, 4) if xl else (1, 2, 4, 4), "num_res_blocks": [2] * (3 if xl else 4)}
    shape |= {"transformer_depth": depth, "transformer_depth_output": mirrored}
    shape |= {"transformer_depth_middle": depth[-1] or 1, "use_spatial_transformer": True, "legacy": False}
    shape |= {"dtype": scale.dtype, **({"num_classes": "sequential"} if xl else {})}
    config = described({**described.unet_config, **shape})
    if xl:
        config.unet_config["num_head_channels"] = scale.head
    base = config.get_model({}, device=scale.device)
    randomise(base.diffusion_model, 0)
    return comfy.model_patcher.CoreModelPatcher(
        base.eval(), load_device=scale.device, offload_device=comfy.model_management.unet_offload_device()
    )


def adapter_config(scale: Scale) -> networks.AdapterConfig:
    """Return the shape of the published full adapter."""
    channels = tuple(scale.width * times for times in (1, 2, 4, 4))
    xl = scale.family == "SDXL"
    return networks.AdapterConfig("full", 3, 16 if xl else 8, channels, (2,) if xl else (1, 2, 3), 2)


def adapter_weights(scale: Scale) -> dict[str, torch.Tensor]:
    """Make random weights in the original layout, on the CPU."""
    network = networks.build_adapter(adapter_config(scale))
    randomise(network, 1)
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}


@functools.cache
def adapter_file(scale: Scale) -> Path:
    """Write the weights to a file that is deleted when the process ends."""
    from safetensors.torch import save_file

    path = Path(_scratch(), f"{scale.family} {scale.width}.safetensors")
    save_file(adapter_weights(scale), path)
    return path


@functools.cache
def _scratch() -> str:
    import atexit
    import shutil

    folder = tempfile.mkdtemp(prefix="benchmarks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def our_adapter(scale: Scale) -> Any:
    """Load an adapter as Load T2I-Adapter does."""
    from ...nodes.loading import adapters

    return adapters.wrap_adapter(adapter_file(scale), "adapter", None, bgr=None, dtype=None)


def core_adapter(scale: Scale) -> Any:
    """Load the same file as ComfyUI's node Load ControlNet Model does."""
    import comfy.controlnet

    return comfy.controlnet.load_controlnet(str(adapter_file(scale)))


def prompt(scale: Scale, seed: int) -> list[Any]:
    """Make a CONDITIONING with random embeddings."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(1, 77, scale.context, generator=generator)
    return [[text, {"pooled_output": torch.randn(1, 1280, generator=generator)}]]


def picture(size: int, seed: int) -> torch.Tensor:
    """Make a random condition image, IMAGE (1, H, W, 3)."""
    return torch.rand(1, size, size, 3, generator=torch.Generator().manual_seed(seed))


def apply_ours(model: Any, adapter: Any, image: torch.Tensor, strength: float = 1.0) -> Any:
    """Run Apply T2I-Adapter."""
    from ...nodes.apply import ApplyT2IAdapter

    return ApplyT2IAdapter.execute(model, adapter, image, strength=strength)[0]


def apply_core(prompts: Sequence[Any], control: Any, image: torch.Tensor, strength: float = 1.0) -> tuple[Any, Any]:
    """Run ComfyUI's node Apply ControlNet."""
    import nodes

    applied: tuple[Any, Any] = nodes.ControlNetApplyAdvanced().apply_controlnet(
        *prompts, control, image, strength, 0.0, 1.0
    )
    return applied


@dataclass(frozen=True)
class Job:
    """A MODEL and two prompts to sample with; ``batch`` pictures at once."""

    model: Any
    positive: Any
    negative: Any
    scale: Scale
    size: int
    batch: int = 1

    def sample(self, steps: int, callback: Callable[..., None] | None = None, seed: int = 0) -> torch.Tensor:
        """Run ComfyUI's sampler as KSampler does, with classifier-free guidance."""
        import comfy.sample

        latent = torch.zeros(self.batch, 4, self.size // 8, self.size // 8)
        noise = comfy.sample.prepare_noise(latent, seed)
        with torch.inference_mode():
            pictures: torch.Tensor = comfy.sample.sample(
                self.model, noise, steps, 5.0, "euler", "normal", self.positive, self.negative, latent,
                callback=callback, disable_pbar=True, seed=seed,
            )  # fmt: skip
        return pictures


def job(variant: str, model: Any, scale: Scale, size: int, batch: int = 1) -> Job:
    """Build the setup of one of VARIANTS. Each adapter of a stack is a separate network, as with four files."""
    prompts = (prompt(scale, 1), prompt(scale, 2))
    name, _, times = variant.partition(" ×")
    for number in range(int(times or 1) if name != "bare" else 0):
        if name == "ours":
            model = apply_ours(model, our_adapter(scale), picture(size, number))
        else:
            prompts = apply_core(prompts, core_adapter(scale), picture(size, number))
    return Job(model, *prompts, scale, size, batch)
