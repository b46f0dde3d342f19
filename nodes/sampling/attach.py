"""Attach adapters to a MODEL: the stack, the wrappers and the patches."""

from __future__ import annotations

from typing import Any

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.applied import AppliedAdapter
from ...adapter_models.combine import T2IFuser
from ...adapter_models.families import UNetBlock, sites_for
from ...adapter_models.stack import AdapterStack
from ...adapter_models.standalone import PIXELS_PER_CELL
from .. import host
from .patches import BlockPatch, InputPatch, MiddlePatch
from .wrappers import SamplingWrappers

# The key of the stack and the wrappers on a MODEL.
KEY = "t2i_adapter"
OBSERVER = f"{KEY}_observer"


def stack_of(model: Any) -> AdapterStack:
    """Return the adapters of a MODEL."""
    return model.get_attachment(KEY) or AdapterStack()


def apply_adapter(model: Any, use: AppliedAdapter) -> Any:
    """Return a clone of a MODEL with one more adapter; the MODEL itself is unchanged."""
    return with_stack(model, stack_of(model).with_use(use))


def with_stack(model: Any, stack: AdapterStack) -> Any:
    """Return a clone of a MODEL with these adapters instead of its own; the MODEL itself is unchanged."""
    clone = model.clone()
    clone.set_attachments(KEY, stack)
    wrappers = SamplingWrappers(stack, clone.model.latent_format.spacial_downscale_ratio, load_network)
    for kind, wrapper in (
        (host.WrappersMP.PREPARE_SAMPLING, wrappers.prepare_sampling),
        (host.WrappersMP.SAMPLER_SAMPLE, wrappers.sampler_sample),
        (host.WrappersMP.CALC_COND_BATCH, wrappers.calc_cond_batch),
        (host.WrappersMP.APPLY_MODEL, wrappers.apply_model),
    ):
        clone.remove_wrappers_with_key(kind, KEY)
        clone.add_wrapper_with_key(kind, KEY, wrapper)
    patches = clone.model_options["transformer_options"].setdefault("patches", {})
    for name, patch in _patches(stack):
        # First, so that it works on the block's own output, as ComfyUI's own controls do, and may write into it.
        patches[name] = [patch, *(other for other in patches.get(name, []) if not isinstance(other, type(patch)))]
    return clone


def _patches(stack: AdapterStack) -> tuple[tuple[str, InputPatch | MiddlePatch | BlockPatch], ...]:
    """Return the patches that add a stack's residuals, with ComfyUI's name for their place."""
    parts = {site.part for use in stack.uses for site in use.sites}
    if "tokens" in parts:
        return ()  # through ``control`` alone
    if "block" in parts:
        return (("double_block", BlockPatch(stack)),)
    return ("input_block_patch", InputPatch(stack)), ("middle_block_after_patch", MiddlePatch(stack))


def sites_in(model: Any, adapter: T2IAdapter) -> tuple[UNetBlock, ...]:
    """Return the block of a MODEL that each level of an adapter is added to.

    Raises:
        FamilyMismatchError: The adapter is made for another UNet.
    """
    return sites_for(adapter.info.name, adapter.network.config, host.unet_outline(model), adapter.info.made_for)


def load_network(owner: T2IAdapter | T2IFuser, nbytes: int) -> None:
    """Have ComfyUI load a network and free the bytes that its forward needs."""
    host.load_models([owner.patcher], nbytes)


def observer_hooks() -> Any:
    """Return hooks that tell a CONTROL_NET the areas and sides of the prompts, which ComfyUI does not pass to it."""
    observer = SamplingWrappers(AdapterStack(), PIXELS_PER_CELL)
    return host.wrapper_hooks(
        {
            host.WrappersMP.SAMPLER_SAMPLE: {OBSERVER: [observer.observe_run]},
            host.WrappersMP.CALC_COND_BATCH: {OBSERVER: [observer.observe_step]},
        }
    )
