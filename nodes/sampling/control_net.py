"""An adapter as ComfyUI's CONTROL_NET: the same residuals, in the conditioning of one prompt."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.errors import FamilyMismatchError
from ...adapter_models.families import Outline, UNetBlock, UNetOutline, sites_for
from ...adapter_models.hint import check_hint
from ...adapter_models.standalone import PIXELS_PER_CELL
from ...adapter_models.weights import NEUTRAL, Weights
from .. import host
from ..advice import in_node
from ..loading.adapters import copy_for
from . import attach
from .advanced_apply import AdvancedApply
from .clock import Clock
from .control_lists import as_control, merge
from .control_run import ControlCall, ControlRun
from .hint_mistakes import image_mistake
from .keyframes import KeyframeClock
from .options import adapter_options
from .state import SamplingState

_NODE = "T2I-Adapter as ControlNet"


# Subclasses ComfyUI's own adapter because tiled samplers look for that class and its attributes.
class T2IAdapterControl(AdvancedApply, host.CoreT2IAdapter):  # type: ignore[misc]
    """An adapter as a control in ComfyUI's conditioning. The apply node sets strength, range and hint.

    Like ComfyUI's own controls, it takes ``cond_hint``, ``cond_hint_original``, ``strength`` or ``timestep_range`` that
    others set between two calls. A ``cond_hint`` of the call's size takes precedence over ``cond_hint_original``.

    Args:
        adapter: The adapter.
        weights: Factors of the strength.

    Attributes:
        sub_idxs: Frames of the next context window, if a video sampler sets them.
        full_latent_length: Number of frames in the video.
        context_length: Number of frames in a window.
    """

    def __init__(self, adapter: T2IAdapter, weights: Weights = NEUTRAL) -> None:
        device = adapter.patcher.load_device  # type: ignore[attr-defined]
        # Always three channels: the adapter converts colours to gray itself, more accurately.
        super().__init__(adapter.network, 3, PIXELS_PER_CELL, "bilinear", device)
        self.adapter = adapter
        self.weights = weights
        self.extra_hooks = attach.observer_hooks()
        self.outline: Outline | None = None
        # Used only without an observer. Otherwise ComfyUI's own run owns ours: that ends after an error too, when
        # cleanup is not called, while a nested run inside a step calls it too early.
        self._run: ControlRun | None = None
        self._model: Callable[[], Any] = _nothing
        self._starts: tuple[float, ...] = ()
        self._always: Any = None
        self._forget_window()

    def _forget_window(self) -> None:
        self.sub_idxs: list[int] | None = None
        self.full_latent_length = self.context_length = 0

    def get_extra_hooks(self) -> list[Any]:
        """Return the hooks of the previous controls, without this control's own.

        Its own hooks only add wrappers, which ComfyUI reads from ``extra_hooks``. If they were returned here, ComfyUI
        would treat them like hooks that change weights: load a model with dynamic memory a second time without it,
        and no longer batch prompts with this control with prompts without it.
        """
        return [] if self.previous_controlnet is None else list(self.previous_controlnet.get_extra_hooks())

    @in_node(_NODE)
    def set_cond_hint(self, cond_hint: Tensor, *args: Any, **kwargs: Any) -> T2IAdapterControl:
        """Set the condition image (B, C, H, W)."""
        check_hint(f"{_NODE}, image", cond_hint)
        mistake = image_mistake(self.adapter.info, cond_hint)
        if mistake is not None:
            host.warn(mistake, host.running_node() or None)
        super().set_cond_hint(cond_hint, *args, **kwargs)
        return self

    def scale_image_to(self, width: int, height: int) -> tuple[int, int]:
        """Return the size that the condition image needs: the picture's own. The adapter pads to whole cells itself."""
        return width, height

    @in_node(_NODE)
    def pre_run(self, model: Any, percent_to_timestep_function: Any) -> None:
        """Check that the adapter fits the model, before the first step. ComfyUI calls this once per prompt."""
        super().pre_run(model, percent_to_timestep_function)
        start, end = self.timestep_percent_range
        self._always = self.timestep_range if start <= 0.0 and end >= 1.0 else None
        self._starts = tuple(float(percent_to_timestep_function(row.start_percent)) for row in self.overrides.keyframes)
        self._run, self._model = None, weakref.ref(model)
        self._forget_window()
        self.outline = host.base_outline(model, model.diffusion_model)
        self.compression_ratio = model.latent_format.spacial_downscale_ratio
        if any(site.part == "block" for site in self._sites(self.outline)):
            raise FamilyMismatchError(
                _NODE,
                f"the MODEL {self.outline.name}, which reads no control",
                "a model that reads it",
                "Use Apply T2I-Adapter, which adds to this model in another way.",
                says="This model takes no ControlNets, and so no T2I-Adapter as ControlNet.",
            )

    def _sites(self, outline: Outline) -> tuple[UNetBlock, ...]:
        info = self.adapter.info
        return sites_for(info.name, self.adapter.network.config, outline, info.made_for)

    @in_node(_NODE)
    def get_control(
        self,
        x_noisy: Tensor,
        t: Tensor,
        cond: Any,
        batched_number: int,
        transformer_options: Mapping[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, list[Tensor | None]] | None:
        """Return the residuals of each block, merged with those of the previous controls."""
        previous, others = None, self.previous_controlnet
        if others is not None:
            previous = others.get_control(x_noisy, t, cond, batched_number, transformer_options, *args, **kwargs)
        observed = adapter_options(transformer_options).observed
        run = self._run if observed is None else observed.guests.get(self)
        if run is None:
            run = self._begin(x_noisy.shape[0] // batched_number, observed, transformer_options)
        options = transformer_options
        if self.sub_idxs is not None:
            options = {**options, "ad_params": {"sub_idxs": self.sub_idxs, "full_length": self.full_latent_length}}
        strength = self.strength if self._acts(t[0]) else 0.0
        call = ControlCall(x_noisy, t[0], batched_number, options, strength)
        if self._is_cut_for(x_noisy):
            residuals = run.of_crops(self.cond_hint, call)
        else:
            residuals = run.of_image(self.cond_hint_original, call)
        assert self.outline is not None
        blocks = self.outline.blocks if isinstance(self.outline, UNetOutline) else ()
        inputs = sum(block.part == "input" for block in blocks)
        # Core's SDXL adapters start their list with an unused entry, and core sums lists from the start: ours needs
        # the same length to line up.
        longer = ("middle", 0) in residuals
        return merge(as_control(residuals, x_noisy.shape[0], inputs + longer), previous)

    def _acts(self, sigma: Tensor) -> bool:
        if self.timestep_range is None or self.timestep_range is self._always:
            return True  # without reading sigma, which would synchronise with the device
        return bool(self.timestep_range[0] >= sigma >= self.timestep_range[1])

    def _is_cut_for(self, x: Tensor) -> bool:
        if self.cond_hint is None:
            return False
        return list(self.cond_hint.shape[2:]) == [side * self.compression_ratio for side in x.shape[2:]]

    def _begin(self, pictures: int, observed: SamplingState | None, transformer_options: dict[str, Any]) -> ControlRun:
        if self.outline is None:
            raise RuntimeError("T2I-Adapter as ControlNet: got a call before pre_run; expected ComfyUI's sampler.")
        model, sigmas = self._model(), () if observed is None else observed.sigmas
        if observed is None and "sample_sigmas" in transformer_options:
            sigmas = transformer_options["sample_sigmas"].tolist()
        run = ControlRun(
            self.adapter,
            self._sites(self.outline),
            model,
            self.compression_ratio,
            Clock(model.model_sampling, sigmas),
            max(pictures, observed.pictures if observed else 0),
            self.weights,
            KeyframeClock(self.overrides, self._starts, max(sigmas, default=float("inf"))),
        )
        if observed is None:
            self._run = run
        else:
            observed.guests[self] = run
        return run

    def get_models(self) -> list[Any]:
        """Return the models that ComfyUI must load along with the diffusion model."""
        return [*super().get_models(), self.adapter.patcher]

    def cleanup(self) -> None:
        """Drop the state of the run."""
        super().cleanup()
        self._run = None
        self._forget_window()

    def copy(self) -> T2IAdapterControl:
        """Return another control for the same adapter, for another apply node."""
        copied = T2IAdapterControl(self.adapter, self.weights)
        self.copy_to(copied)
        copied.take_overrides(self)
        return copied

    def deepclone_multigpu(self, load_device: torch.device, autoregister: bool = False) -> T2IAdapterControl:
        """Return a control with a copy of the weights on another device."""
        copied = T2IAdapterControl(copy_for(self.adapter, load_device), self.weights)
        self.copy_to(copied)
        copied.take_overrides(self)
        if autoregister:
            self.multigpu_clones[load_device] = copied
        return copied


def _nothing() -> None:
    return None
