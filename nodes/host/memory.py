"""ComfyUI's memory manager, which loads, offloads and counts our networks."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch

# Layers that ComfyUI can load partially and that cast their weights to the input's dtype.
OPERATIONS: Any = comfy.ops.manual_cast
Cancelled: type[BaseException] = comfy.model_management.InterruptProcessingException


def wrap_network(network: torch.nn.Module, device: torch.device | None = None) -> Any:
    """Wrap a network in a model patcher, for ComfyUI's main device unless another is given."""
    # ComfyUI's dynamic patcher moves layers one by one, which only works for its own layer classes. Looked up at run
    # time because ComfyUI rebinds CoreModelPatcher when it starts with dynamic memory.
    kind = comfy.model_patcher.CoreModelPatcher if _by_layers(network) else comfy.model_patcher.ModelPatcher
    return kind(
        network,
        load_device=device or comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def load_annotator_network(patcher: Any, nbytes: int) -> torch.device:
    """Load a wrapped network, with ``nbytes`` free for its forward pass; return the device where it computes."""
    whole = not _by_layers(patcher.model)
    comfy.model_management.load_models_gpu([patcher], memory_required=nbytes, force_full_load=whole)
    device: torch.device = patcher.load_device
    return device


def _by_layers(network: torch.nn.Module) -> bool:
    layers = (layer for layer in network.modules() if next(layer.parameters(recurse=False), None) is not None)
    return all(hasattr(layer, "comfy_cast_weights") for layer in layers)


def intermediate_device() -> torch.device:
    """Return the device where ComfyUI keeps results between nodes."""
    device: torch.device = comfy.model_management.intermediate_device()
    return device


def load_models(patchers: list[Any], nbytes: int = 0) -> None:
    """Load wrapped networks, with ``nbytes`` free for their forward passes."""
    comfy.model_management.load_models_gpu(patchers, memory_required=nbytes)
