"""ComfyUI's models with gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import comfy.model_management
import torch

# More than there is: ComfyUI unloads everything else, as its own trainer has it do.
ALL_MEMORY = 1e20


@contextlib.contextmanager
def ready_to_train(model: Any) -> Iterator[Any]:
    """Load a MODEL whole, as gradients through it need it, and yield a clone of it that is on its device."""
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
