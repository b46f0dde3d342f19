"""What a MODEL with adapters does during a run: the wrappers around its calls.

Speaks ComfyUI's vocabulary of dictionaries (``transformer_options``, conds) but calls nothing of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.combine import T2IFuser
from ...adapter_models.errors import AdapterError
from ...adapter_models.stack import AdapterStack, Chunk, ResidualComputer, Size
from ..advice import in_node
from .control_lists import Control, as_control, inputs_of, merge
from .offers import offering, taken_back
from .patches import RESIDUALS, UNET_WRAPPERS, Handed, UNetWrapper, resizing, traced
from .state import SamplingState, chunks_of
from .style_prompts import put_fused

APPLY = "Apply T2I-Adapter"
# What a run puts into transformer_options, besides patches.RESIDUALS.
RUN, STEP = "t2i_adapter_run", "t2i_adapter_step"
OBSERVED, PREPARED = "t2i_adapter_observed", "t2i_adapter_prepared"
# Under which ComfyUI keeps the wrapper that swaps in a compiled UNet.
COMPILE_WRAPPER = ("apply_model", "torch.compile")


@dataclass(frozen=True, eq=False)
class SamplingWrappers:
    """The wrappers of one MODEL. Holds no state of a run, since clones and threads share it.

    Attributes:
        stack: The adapters applied to the MODEL.
        cell: Size of a latent cell in pixels.
        load: Brings a network to its device, given the bytes that its forward takes besides.
    """

    stack: AdapterStack
    cell: int
    load: Callable[[T2IAdapter | T2IFuser, int], None] = lambda owner, nbytes: None

    @in_node(APPLY)
    def prepare_sampling(self, executor: Any, model: Any, noise_shape: Any, conds: Any,
                         model_options: Any = None, **kwargs: Any) -> Any:  # fmt: skip
        """Compute the features before ComfyUI loads the UNet: the two never need memory at the same time."""
        sums = ResidualComputer(self.stack.uses, self.cell, int(noise_shape[0]), self.stack.combination)
        size = (int(noise_shape[-2]), int(noise_shape[-1]))
        sums.prepare(size, model.load_device, model.model.get_dtype_inference(), self.load)
        if model_options is not None:
            model_options.setdefault("transformer_options", {})[PREPARED] = sums
        return executor(model, noise_shape, conds, model_options=model_options, **kwargs)

    @in_node(APPLY)
    def sampler_sample(self, executor: Any, guider: Any, sigmas: Tensor, extra_args: Any, callback: Any,
                       noise: Tensor, *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        """Add up the residuals of the first step, and drop what the run made however it ends."""
        size = (int(noise.shape[-2]), int(noise.shape[-1]))
        prepared = extra_args["model_options"].get("transformer_options", {}).pop(PREPARED, None)
        run = self._run_of(guider, sigmas, noise, size, prepared)
        self._fuse_style(run, guider.conds, size, noise.device)
        run.residuals([Chunk(size, None, tuple(range(noise.shape[0])))], sigmas[0], noise.device)
        with _during_run(extra_args, RUN, run):
            return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)

    def _fuse_style(
        self, run: SamplingState, prompts: Mapping[str, list[Any]], size: Size, device: torch.device
    ) -> None:
        style = self.stack.combination.style
        fused = run.sums.fused_style(size, device, run.dtype)
        if style is None or fused is None:
            return
        # ComfyUI makes these lists anew for each run; the prompts in them are shared, and are replaced, not changed.
        found = [put_fused(group, style, fused) for group in prompts.values()]
        if not any(found):
            raise AdapterError(
                "Combine T2I-Adapters",
                "a run whose prompts do not carry the style that takes part in the fuser",
                "a prompt from its output positive",
                "Connect that output to the sampler, or leave its input positive open.",
            )

    @in_node(APPLY)
    def calc_cond_batch(self, executor: Any, model: Any, conds: Any, x_in: Tensor, timestep: Tensor,
                        model_options: dict[str, Any]) -> Any:  # fmt: skip
        """Note what the calls that follow can't see: they get only the rows and the part of x that they work on."""
        options = model_options.get("transformer_options", {})
        run = options.get(RUN) or self._run(model, x_in.shape[0])
        step = run.step(conds, (int(x_in.shape[-2]), int(x_in.shape[-1])))
        if step is not None:
            model_options = {**model_options, "transformer_options": {**options, STEP: step}}
        return executor(model, conds, x_in, timestep, self._offering(model_options, run))

    def _offering(self, model_options: dict[str, Any], run: SamplingState) -> dict[str, Any]:
        def offer(x: Tensor, t: Tensor, options: Mapping[str, Any]) -> Control:
            residuals = run.residuals(chunks_of(x, options, options.get(STEP)), t[0], x.device)
            return as_control(residuals, x.shape[0], inputs_of(residuals))

        # A control does not follow a feature map that is resized; the patches say so where they are called alone.
        return (
            model_options if resizing(model_options.get("transformer_options", {})) else offering(model_options, offer)
        )

    def _run_of(
        self, guider: Any, sigmas: Tensor, noise: Tensor, size: Size | None = None, sums: ResidualComputer | None = None
    ) -> SamplingState:
        return SamplingState(
            self.stack,
            self.cell,
            guider.inner_model,
            noise.shape[0],
            sigmas=sigmas.tolist(),
            size=size,
            prompts=guider.conds,
            sums=sums,
        )

    def _run(self, model: Any, pictures: int) -> SamplingState:
        # For samplers that call the model past ComfyUI's own loop.
        return SamplingState(self.stack, self.cell, model, pictures)

    def observe_run(self, executor: Any, guider: Any, sigmas: Tensor, extra_args: Any, callback: Any,
                    noise: Tensor, *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        """Note, for a CONTROL_NET, which prompts the guider has."""
        with _during_run(extra_args, OBSERVED, self._run_of(guider, sigmas, noise)):
            return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)

    def observe_step(self, executor: Any, model: Any, conds: Any, x_in: Tensor, timestep: Tensor,
                     model_options: dict[str, Any]) -> Any:  # fmt: skip
        """Note, for a CONTROL_NET, what it can't see of a step."""
        options = model_options.get("transformer_options", {})
        run = options.get(OBSERVED) or self._run(model, x_in.shape[0])
        step = run.step(conds, (int(x_in.shape[-2]), int(x_in.shape[-1])), always=True)
        return executor(model, conds, x_in, timestep, {**model_options, "transformer_options": {**options, STEP: step}})

    @in_node(APPLY)
    def apply_model(self, executor: Any, x: Tensor, t: Tensor, c_concat: Any = None, c_crossattn: Any = None,
                    control: Any = None, transformer_options: Mapping[str, Any] | None = None,
                    **kwargs: Any) -> Any:  # fmt: skip
        """Put the residuals of this call where the patches find them."""
        options = dict(transformer_options or {})
        run = options.get(RUN) or self._run(executor.class_obj, x.shape[0])
        control, wanted = taken_back(control, options)
        chunks = chunks_of(x, options, options.get(STEP))
        run.warn_of_tiles(chunks)
        residuals = run.residuals(chunks, t[0], x.device) if wanted else {}
        if _compiled(options):
            # ComfyUI has Dynamo ignore what is in transformer_options, so a compiled UNet would go on with the first
            # run's adapters; but it watches `control`, whose shapes here depend on the size alone.
            _refuse_resizing(options)
            control = merge(run.controls(residuals, x.shape[0]), control) if wanted else control
            options[RESIDUALS] = {}
        elif traced(executor.class_obj.diffusion_model):
            options[RESIDUALS] = residuals
        else:
            # A control, even if empty, shows whether another node takes it away for a pass.
            others = options.get("wrappers", {}).get(UNET_WRAPPERS)
            control = {} if control is None and others else control
            options = UNetWrapper(Handed(residuals), control is not None, run.check_patches).around(options)
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)


@contextlib.contextmanager
def _during_run(extra_args: Mapping[str, Any], key: str, run: SamplingState) -> Iterator[None]:
    """Let the calls of a run find it, until the run ends in whatever way; then those of the run around it, if any."""
    options = extra_args["model_options"].setdefault("transformer_options", {})
    around = options.get(key)
    options[key] = run
    try:
        yield
    finally:
        options.pop(key, None)
        if around is not None:
            options[key] = around


def _compiled(options: Mapping[str, Any]) -> bool:
    kind, key = COMPILE_WRAPPER
    return bool(options.get("wrappers", {}).get(kind, {}).get(key))


def _refuse_resizing(options: Mapping[str, Any]) -> None:
    # ComfyUI would only log that the control's size is wrong, and go on without it.
    if resizing(options):
        raise AdapterError(
            "Apply T2I-Adapter",
            "a compiled MODEL whose feature maps another node resizes (PatchModelAddDownscale)",
            "one of the two",
            "Remove TorchCompileModel or the downscaling.",
        )
