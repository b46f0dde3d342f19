"""Load ComfyUI's models for training, and write captions as its prompts."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import comfy.model_management
import torch

from ...training.errors import TrainingError

# More than any device has: ComfyUI then unloads everything else, as for its own trainer.
ALL_MEMORY = 1e20
# A backslash before a parenthesis makes it literal.
PARENTHESIS = re.compile(r"([()])")
# A space inside these changes none of CLIP's tokens, because CLIP splits letters from signs anyway. But it keeps the
# tokenizer from looking for a file, or ending the prompt.
EMBEDDING = re.compile(r"embedding(?=:)")
SPECIAL = re.compile(r"<\|(?=(?:startoftext|endoftext)\|>)", re.IGNORECASE)


@contextlib.contextmanager
def ready_to_train(model: Any) -> Iterator[Any]:
    """Load a MODEL fully, as backpropagation needs it, and yield a clone on the device.

    Args:
        model: The MODEL; not changed.

    Raises:
        TrainingError: The MODEL uses dynamic VRAM, and its loader can't load it without.
    """
    check_loads_whole(model)
    # ComfyUI runs nodes in inference mode, whose tensors have no gradients.
    with torch.inference_mode(False):
        # A dynamic clone streams weights through memory that the backward pass still needs.
        clone = model.clone(disable_dynamic=True)
        _load_whole(clone)
        comfy.model_management.in_training = True
        try:
            yield clone
        finally:
            comfy.model_management.in_training = False


def _load_whole(model: Any) -> None:
    comfy.model_management.load_models_gpu([model], memory_required=ALL_MEMORY, force_full_load=True)


@contextlib.contextmanager
def training_paused(loaded: Any) -> Iterator[None]:
    """Let samplers and VAEs use the device and a MODEL in training, and load the MODEL whole again afterwards.

    Args:
        loaded: From :func:`ready_to_train`. Its weights may be inference tensors afterwards, without gradients.
    """
    comfy.model_management.in_training = False
    # ComfyUI's samplers set the seed of torch's own generators.
    with torch.random.fork_rng([loaded.load_device] if loaded.load_device.type == "cuda" else []):
        yield
    _load_whole(loaded)
    comfy.model_management.in_training = True


def check_loads_whole(model: Any) -> None:
    """Check that ComfyUI can load a MODEL fully.

    A MODEL leaves dynamic VRAM only if its loader registered a function that loads the file again.

    Raises:
        TrainingError: There is no such function, or an older ComfyUI made it without the option.
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
        says="This MODEL can't be trained with: its loader can't load it whole.",
    )


def _takes(function: Any, name: str) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(each.name == name or each.kind is each.VAR_KEYWORD for each in parameters)


def literal_prompt(text: str) -> str:
    r"""Escape a text so that it is tokenized literally, with weight 1.

    Args:
        text: Any text, such as ``(16:9) embedding:x a\(b``.

    Returns:
        A prompt for the text encoders of SD1.x, SD2.x and SDXL.
    """
    # The tokenizer marks escaped parentheses with NUL; no caption needs it.
    plain = PARENTHESIS.sub(r"\\\1", text.replace("\0", ""))
    return SPECIAL.sub("<| ", EMBEDDING.sub("embedding ", plain))
