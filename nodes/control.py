"""T2I-Adapter as ControlNet: the same engine behind ComfyUI's CONTROL_NET socket."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.families import UNetOutline, sites_for
from ..adapter_models.features import FeatureCache
from ..adapter_models.hint import check_hint
from ..adapter_models.stack import AdapterStack
from ..adapter_models.uses import AdapterUse
from ..adapter_models.weights import NEUTRAL, Weights
from . import attach, host
from .controls import as_control, merge
from .engine import OBSERVED, STEP
from .inputs import checked
from .run import Run, chunks_of
from .sockets import T2IAdapterSocket, WeightsSocket


class T2IAdapterControl(host.ControlBase):  # type: ignore[misc]
    """An adapter as ComfyUI's conditioning carries controls. Strength, range and hint come from the apply node.

    Args:
        adapter: The adapter.
        weights: Factors of the strength.
    """

    def __init__(self, adapter: T2IAdapter, weights: Weights = NEUTRAL) -> None:
        super().__init__()
        self.adapter = adapter
        self.weights = weights
        self.extra_hooks = attach.observer_hooks()
        self.outline: UNetOutline | None = None
        # What keeps the run is ComfyUI's own run, which ends after an error too; cleanup is then not called.
        self._run: Callable[[], Run | None] = _nothing
        self._model: Callable[[], Any] = _nothing

    def set_cond_hint(self, cond_hint: Tensor, *args: Any, **kwargs: Any) -> T2IAdapterControl:
        """Take the condition image, (B, C, H, W)."""
        check_hint("T2I-Adapter as ControlNet, image", cond_hint)
        super().set_cond_hint(cond_hint, *args, **kwargs)
        return self

    def pre_run(self, model: Any, percent_to_timestep_function: Any) -> None:
        """Check the family before the first step. ComfyUI calls this once per prompt."""
        super().pre_run(model, percent_to_timestep_function)
        self._run, self._model = _nothing, weakref.ref(model)
        self.outline = host.base_outline(model, model.diffusion_model)
        sites_for(self.adapter.about.name, self.adapter.network.config, self.outline)

    def get_control(
        self, x_noisy: Tensor, t: Tensor, cond: Any, batched_number: int, transformer_options: dict[str, Any]
    ) -> dict[str, list[Tensor | None]] | None:
        """Return what each block adds, with what the controls before this one add."""
        previous = None
        if self.previous_controlnet is not None:
            previous = self.previous_controlnet.get_control(x_noisy, t, cond, batched_number, transformer_options)
        run = self._run() or self._begin(x_noisy.shape[0] // batched_number, transformer_options)
        chunks = chunks_of(x_noisy, transformer_options, transformer_options.get(STEP))
        residuals = run.residuals(chunks, t[0], x_noisy.device)
        assert self.outline is not None
        inputs = sum(block.kind == "input" for block in self.outline.blocks)
        # Core's own SDXL adapters begin with an entry that is never taken, and core adds up lists from their
        # beginnings: ours must be as long to meet theirs.
        longer = ("middle", 0) in residuals
        return merge(as_control(residuals, x_noisy.shape[0], inputs + longer), previous)

    def _begin(self, pictures: int, transformer_options: dict[str, Any]) -> Run:
        if self.outline is None:
            raise RuntimeError("T2I-Adapter as ControlNet: got a call before pre_run; expected ComfyUI's sampler.")
        use = AdapterUse(
            self.adapter,
            self.cond_hint_original,
            sites_for(self.adapter.about.name, self.adapter.network.config, self.outline),
            self.strength,
            *self.timestep_percent_range,
            weights=self.weights,
        )
        observed: Run | None = transformer_options.get(OBSERVED)
        run = Run(
            AdapterStack((use,)),
            self.compression_ratio,
            self._model(),
            max(pictures, observed.pictures if observed else 0),
            sigmas=observed.sigmas if observed else (),
        )
        if observed is None:
            self._run = lambda: run
        else:
            observed.guests.append(run)
            self._run = weakref.ref(run)
        return run

    def get_models(self) -> list[Any]:
        """Name the models that ComfyUI must load with the diffusion model."""
        return [*super().get_models(), self.adapter.patcher]

    def cleanup(self) -> None:
        """Drop what the run made."""
        super().cleanup()
        self._run = self._model = _nothing

    def copy(self) -> T2IAdapterControl:
        """Return a control of the same adapter, for another apply node."""
        copied = T2IAdapterControl(self.adapter, self.weights)
        self.copy_to(copied)
        return copied

    def deepclone_multigpu(self, load_device: torch.device, autoregister: bool = False) -> T2IAdapterControl:
        """Return a control with a copy of the weights for another device."""
        clone = self.copy()
        clone.adapter = adapter_on(self.adapter, load_device)
        if autoregister:
            self.multigpu_clones[load_device] = clone
        return clone


def _nothing() -> None:
    return None


def adapter_on(adapter: T2IAdapter, device: torch.device) -> T2IAdapter:
    """Copy an adapter for another device: its weights, under a patcher of their own, and an empty cache."""
    network = copy.deepcopy(adapter.network)
    patcher = host.wrap_network(network, device)
    return replace(adapter, network=network, patcher=patcher, cache=FeatureCache(patcher.offload_device))


class T2IAdapterToControlNet(io.ComfyNode):
    """Turn an adapter into a CONTROL_NET."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAdapterToControlNet",
            display_name="T2I-Adapter as ControlNet",
            category="T2I-Adapter",
            description="Use an adapter where a ControlNet goes: Apply ControlNet, tiled upscalers, regional prompts. "
            "It follows one prompt instead of the whole model.",
            search_aliases=["adapter to controlnet", "control net", "regional", "tile", "upscale"],
            inputs=[
                T2IAdapterSocket.Input("adapter", tooltip="From Load T2I-Adapter."),
                WeightsSocket.Input(
                    "weights",
                    optional=True,
                    tooltip="From T2I-Adapter Level Weights or T2I-Adapter Schedule: factors of the strength.",
                ),
            ],
            outputs=[io.ControlNet.Output("control_net", tooltip="For Apply ControlNet and all that take one.")],
        )

    @classmethod
    @checked
    def execute(cls, adapter: T2IAdapter, weights: Weights | None = None) -> io.NodeOutput:
        """Wrap the adapter."""
        return io.NodeOutput(T2IAdapterControl(adapter, weights or NEUTRAL))
