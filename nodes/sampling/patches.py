"""The patches in the UNet of a MODEL with adapters: they add the residuals that the wrappers hand over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...adapter_models.calls import Residuals
from ...adapter_models.errors import AdapterError
from ...adapter_models.families import BlockPart
from ...adapter_models.stack import AdapterStack, add_residual
from .control_lists import as_tokens, flat_residual
from .handed import APPLY_NODE, Handed
from .options import adapter_options, changed_options

# Modules whose patches resize feature maps: Kohya's deep shrink.
RESIZING_PATCHES = ("nodes_model_downscale",)
# ComfyUI's name for wrappers around the UNet's forward, and the key of the pack's own.
UNET_WRAPPERS, OWN_WRAPPER = "diffusion_model", "t2i_adapter_unet"


@dataclass(frozen=True, eq=False)
class InputPatch:
    """Adds the residuals after the input blocks."""

    stack: AdapterStack

    def __call__(self, h: Tensor, transformer_options: dict[str, Any]) -> Tensor:
        """Add to the output of the block that ran, if it is a site."""
        residual = _residuals(transformer_options, "input").get(transformer_options["block"])
        return h if residual is None else add_residual(_not_recorded(h), residual)


@dataclass(frozen=True, eq=False)
class MiddlePatch:
    """Adds the residual after the middle block."""

    stack: AdapterStack

    def __call__(self, args: dict[str, Any]) -> dict[str, Any]:
        """Add to the middle block's output, if it is a site and the input patch ran."""
        residuals = _residuals(args["transformer_options"], "middle")
        residual = residuals.get(("middle", 0))
        # A conditional model patch that does not know this patch switches off only the input patch.
        if residual is None or (isinstance(residuals, Handed) and "input" not in residuals.seen):
            return args
        owned = all(site.computes for use in self.stack.uses for site in use.sites)
        return {**args, "h": add_residual(_not_recorded(args["h"]), residual, in_place=owned)}


@dataclass(frozen=True, eq=False)
class BlockPatch:
    """Adds the residuals after the blocks of a transformer that does not read ``control``."""

    stack: AdapterStack

    def __call__(self, args: dict[str, Any]) -> dict[str, Any]:
        """Add to the image tokens (rows, at least h · w, C) after the block that ran, if it is a site."""
        residual = _residuals(args["transformer_options"], "block").get(("block", args["block_index"]))
        if residual is None:
            return args
        tokens = _not_recorded(args["img"])
        added = as_tokens(flat_residual(residual, tokens.shape[0]))
        # Behind the picture's tokens there may be some that fill up the sequence.
        tokens[:, : added.shape[1]] += added
        return {**args, "img": tokens}


@dataclass(frozen=True, eq=False)
class UNetWrapper:
    """The innermost wrapper around the UNet's forward: it sees the call as other nodes changed it.

    Attributes:
        handed: The residuals of the call.
        had_control: Whether the call began with a control; None then means that another node removed it.
        called: Called with the residuals after the UNet has run.
    """

    handed: Handed
    had_control: bool
    called: Callable[[Handed], None]

    def __call__(self, executor: Any, x: Tensor, timesteps: Any = None, context: Any = None, y: Any = None,
                 control: Any = None, transformer_options: Any = None, *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        """Add nothing in a pass whose control was removed (that of a reference picture); check that the patches run."""
        options = transformer_options or {}
        if self.had_control and control is None:
            return executor(x, timesteps, context, y, None, changed_options(options, residuals={}), *args, **kwargs)
        result = executor(x, timesteps, context, y, control, options, *args, **kwargs)
        self.called(self.handed)
        return result

    def around(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return transformer_options with this wrapper behind all others."""
        wrappers = options.get("wrappers", {})
        own = {**wrappers.get(UNET_WRAPPERS, {}), OWN_WRAPPER: [self]}
        return changed_options(
            {**options, "wrappers": {**wrappers, UNET_WRAPPERS: own}}, residuals=self.handed, offered=False
        )


def traced(unet: Any) -> bool:
    """Tell whether a UNet is compiled by other means than ComfyUI's node; its patches are then traced."""
    return hasattr(unet, "_orig_mod") or getattr(unet, "_compiled_call_impl", None) is not None


def resizing(options: Mapping[str, Any]) -> bool:
    """Tell whether a patch of ``transformer_options`` is known to resize feature maps; no control fits them."""
    patches = options.get("patches", {})
    found = (*patches.get("input_block_patch", ()), *patches.get("input_block_patch_after_skip", ()))
    return any(str(getattr(patch, "__module__", "")).endswith(RESIZING_PATCHES) for patch in found)


def _residuals(transformer_options: Mapping[str, Any], kind: BlockPart) -> Residuals:
    residuals = adapter_options(transformer_options).residuals
    if residuals is None:
        raise AdapterError(
            APPLY_NODE,
            "a call of the UNet that the adapter was not told of: another custom node has copied this MODEL's patches "
            "to another model, or calls the UNet past ComfyUI's apply_model",
            "the MODEL from Apply T2I-Adapter, called through apply_model",
            "Use T2I-Adapter as ControlNet instead. To let an adapter act for a part of the run, use start_percent and "
            "end_percent of Apply T2I-Adapter, or T2I-Adapter Schedule.",
            says="Another custom node runs this model in a way that bypasses the adapter.",
        )
    if isinstance(residuals, Handed):
        residuals.seen.add(kind)
    return residuals


def _not_recorded(h: Tensor) -> Tensor:
    """Refuse to be recorded into a CUDA graph, which would add this step's residuals at every step of every run."""
    # Don't let a compiler trace the question.
    if h.is_cuda and not torch.compiler.is_compiling() and torch.cuda.is_current_stream_capturing():
        raise AdapterError(
            APPLY_NODE,
            "a UNet whose blocks are recorded as CUDA graphs",
            "one that runs its patches at every step",
            "Start ComfyUI with --disable-cuda-graphs, or remove the node that records the MODEL.",
            says="T2I-Adapters don't work in a model that is recorded as CUDA graphs.",
        )
    return h
