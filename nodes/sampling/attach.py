"""Hang adapters on a MODEL: its patches, its wrappers, and what it carries."""

from __future__ import annotations

from typing import Any

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.applied import AppliedAdapter
from ...adapter_models.combine import T2IFuser
from ...adapter_models.stack import AdapterStack
from .. import host
from .patches import InputPatch, MiddlePatch
from .wrappers import SamplingWrappers

# The key of everything that the pack hangs on a MODEL.
KEY = "t2i_adapter"
OBSERVER = f"{KEY}_observer"
# Pixels of a latent cell, for all UNets that adapters exist for.
CELL = 8


def stack_of(model: Any) -> AdapterStack:
    """Return the adapters of a MODEL."""
    return model.get_attachment(KEY) or AdapterStack()


def apply_adapter(model: Any, use: AppliedAdapter) -> Any:
    """Return a clone of a MODEL with one more adapter; the MODEL itself is left alone."""
    return with_stack(model, stack_of(model).with_use(use))


def with_stack(model: Any, stack: AdapterStack) -> Any:
    """Return a clone of a MODEL with these adapters in the place of its own; the MODEL itself is left alone."""
    clone = model.clone()
    clone.set_attachments(KEY, stack)
    engine = SamplingWrappers(stack, clone.model.latent_format.spacial_downscale_ratio, load_network)
    for kind, wrapper in (
        (host.WrappersMP.PREPARE_SAMPLING, engine.prepare_sampling),
        (host.WrappersMP.SAMPLER_SAMPLE, engine.sampler_sample),
        (host.WrappersMP.CALC_COND_BATCH, engine.calc_cond_batch),
        (host.WrappersMP.APPLY_MODEL, engine.apply_model),
    ):
        clone.remove_wrappers_with_key(kind, KEY)
        clone.add_wrapper_with_key(kind, KEY, wrapper)
    patches = clone.model_options["transformer_options"].setdefault("patches", {})
    for name, patch in (("input_block_patch", InputPatch(stack)), ("middle_block_after_patch", MiddlePatch(stack))):
        # First, so that it works on the block's own output, as ComfyUI's own controls do, and may write into it.
        patches[name] = [patch, *(other for other in patches.get(name, []) if not isinstance(other, type(patch)))]
    return clone


def load_network(owner: T2IAdapter | T2IFuser, nbytes: int) -> None:
    """Have ComfyUI load a network, and make room for what its forward takes."""
    host.load_models([owner.patcher], nbytes)


def observer_hooks() -> Any:
    """Return hooks that let a CONTROL_NET know of the prompts' areas and sides; it sees neither by itself."""
    observer = SamplingWrappers(AdapterStack(), CELL)
    return host.wrapper_hooks(
        {
            host.WrappersMP.SAMPLER_SAMPLE: {OBSERVER: [observer.observe_run]},
            host.WrappersMP.CALC_COND_BATCH: {OBSERVER: [observer.observe_step]},
        }
    )
