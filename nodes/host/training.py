"""ComfyUI's models with gradients."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import comfy.model_management
import torch

from ...training.errors import TrainingError

# More than there is: ComfyUI unloads everything else, as its own trainer has it do.
ALL_MEMORY = 1e20


@contextlib.contextmanager
def ready_to_train(model: Any) -> Iterator[Any]:
    """Load a MODEL whole, as gradients through it need it, and yield a clone of it that is on its device.

    Args:
        model: The MODEL; left as it is.

    Raises:
        TrainingError: It is under dynamic VRAM, and its loader left no way to load it without.
    """
    check_loads_whole(model)
    # ComfyUI runs nodes in inference mode, whose tensors know no gradients.
    with torch.inference_mode(False):
        # A dynamic clone streams weights through memory that the backward pass still needs.
        clone = model.clone(disable_dynamic=True)
        comfy.model_management.load_models_gpu([clone], memory_required=ALL_MEMORY, force_full_load=True)
        comfy.model_management.in_training = True
        try:
            yield clone
        finally:
            comfy.model_management.in_training = False


def check_loads_whole(model: Any) -> None:
    """Refuse a MODEL that ComfyUI can't load whole.

    Out of dynamic VRAM there is one way: the model's loader registers a function that loads the file again.

    Raises:
        TrainingError: There is none, or it is of an older ComfyUI, without the option.
    """
    if not model.is_dynamic():
        return
    loader = getattr(model, "cached_patcher_init", None)
    if loader is not None and _takes(loader[0], "disable_dynamic"):
        return
    raise TrainingError(
        "Train T2I-Adapter, model",
        "a MODEL under dynamic VRAM from a loader that can't load it again without",
        "a MODEL from ComfyUI's own Load Checkpoint or Load Diffusion Model",
        "Load it with one of these, or start ComfyUI with --disable-dynamic-vram.",
    )


def _takes(function: Any, name: str) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(each.name == name or each.kind is each.VAR_KEYWORD for each in parameters)
