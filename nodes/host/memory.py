"""ComfyUI's memory manager: it loads, offloads and counts our networks."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch

# Namespace of layers that ComfyUI can load in part, and that cast their weights to the picture's precision.
OPERATIONS: Any = comfy.ops.manual_cast
Cancelled: type[BaseException] = comfy.model_management.InterruptProcessingException


def wrap_network(network: torch.nn.Module, device: torch.device | None = None) -> Any:
    """Hand a network's memory to ComfyUI, for its main device unless another is named: return its model patcher."""
    # Layers that ComfyUI does not know can't be moved one by one, as its dynamic patcher does. The class is looked up
    # at run time: ComfyUI rebinds it when it starts with dynamic memory.
    kind = comfy.model_patcher.CoreModelPatcher if _by_layers(network) else comfy.model_patcher.ModelPatcher
    return kind(
        network,
        load_device=device or comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def load_annotator(patcher: Any, nbytes: int) -> torch.device:
    """Have ComfyUI load a wrapped network, with room for what its forward takes; return where it computes."""
    whole = not _by_layers(patcher.model)
    comfy.model_management.load_models_gpu([patcher], memory_required=nbytes, force_full_load=whole)
    device: torch.device = patcher.load_device
    return device


def _by_layers(network: torch.nn.Module) -> bool:
    layers = (layer for layer in network.modules() if next(layer.parameters(recurse=False), None) is not None)
    return all(hasattr(layer, "comfy_cast_weights") for layer in layers)


def intermediate_device() -> torch.device:
    """Return the device on which nodes hand pictures to each other."""
    device: torch.device = comfy.model_management.intermediate_device()
    return device


def load_models(patchers: list[Any], nbytes: int = 0) -> None:
    """Have ComfyUI load wrapped networks, and make room for what their forward takes besides."""
    comfy.model_management.load_models_gpu(patchers, memory_required=nbytes)
