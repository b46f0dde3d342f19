"""The wrappers around a MODEL's calls during a run.

They read and write ComfyUI's dictionaries (``transformer_options``, conds), and call none of ComfyUI's functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.calls import Chunk, Residuals
from ...adapter_models.combine import T2IFuser
from ...adapter_models.errors import AdapterError
from ...adapter_models.stack import AdapterStack, ResidualComputer
from ...adapter_models.targets import LatentSize, Target
from ..advice import in_node
from .control_lists import Control, as_control, for_tokens, inputs_of, merge
from .handed import APPLY_NODE, Handed
from .notices import tell_sizes
from .offers import offering, taken_back
from .options import (
    AdapterOptions,
    adapter_options,
    changed_options,
    during_run,
    set_prepared,
    take_prepared,
    with_adapter_options,
)
from .patches import UNET_WRAPPERS, UNetWrapper, resizing, traced
from .state import SamplingState, chunks_of
from .style_prompts import put_fused

# Kind and key of ComfyUI's wrapper that swaps in a compiled UNet.
COMPILE_WRAPPER = ("apply_model", "torch.compile")


@dataclass(frozen=True, eq=False)
class SamplingWrappers:
    """The wrappers of one MODEL. They hold no state of a run, since clones and threads share them.

    Arguments that a newer ComfyUI adds are passed on as they come.

    Attributes:
        stack: The adapters applied to the MODEL.
        cell: Size of a latent cell in pixels.
        load: Loads a network to its device, given the bytes that its forward needs besides the weights.
    """

    stack: AdapterStack
    cell: int
    load: Callable[[T2IAdapter | T2IFuser, int], None] = lambda owner, nbytes: None

    @in_node(APPLY_NODE)
    def prepare_sampling(
        self, executor: Any, model: Any, noise_shape: Any, conds: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Compute the features before ComfyUI loads the UNet: the two never need memory at the same time."""
        sums = ResidualComputer(self.stack.uses, self.cell, int(noise_shape[0]), self.stack.combination)
        size = (int(noise_shape[-2]), int(noise_shape[-1]))
        sums.prepare(Target(size, model.load_device, model.model.get_dtype_inference()), self.load)
        tell_sizes(self.stack.uses, (size[0] * self.cell, size[1] * self.cell))
        model_options = args[0] if args else kwargs.get("model_options")
        if model_options is not None:
            set_prepared(model_options, sums)
        return executor(model, noise_shape, conds, *args, **kwargs)

    @in_node(APPLY_NODE)
    def sampler_sample(self, executor: Any, guider: Any, sigmas: Tensor, extra_args: Any, callback: Any,
                       noise: Tensor, *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        """Compute the residuals of the first step, and drop the state of the run however it ends."""
        size = (int(noise.shape[-2]), int(noise.shape[-1]))
        run = self._run_of(guider, sigmas, noise, size, take_prepared(extra_args["model_options"]))
        self._fuse_style(run, guider.conds, Target(size, noise.device, run.dtype))
        run.residuals([Chunk(size, None, tuple(range(noise.shape[0])))], sigmas[0], noise.device)
        with during_run(extra_args["model_options"], run=run):
            return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)

    def _fuse_style(self, run: SamplingState, prompts: Mapping[str, list[Any]], target: Target) -> None:
        style = self.stack.combination.style
        fused = run.sums.fused_style(target)
        if style is None or fused is None:
            return
        # ComfyUI makes new lists for each run, but the prompts in them are shared: replace them, don't change them.
        found = [put_fused(group, style, fused) for group in prompts.values()]
        if not any(found):
            raise AdapterError(
                "Combine T2I-Adapters",
                "a run whose prompts do not carry the style that takes part in the fuser",
                "a prompt from its output positive",
                "Connect that output to the sampler, or leave its input positive open.",
                says="The fuser balances a style that none of the sampler's prompts has.",
            )

    @in_node(APPLY_NODE)
    def calc_cond_batch(self, executor: Any, model: Any, conds: Any, x_in: Tensor, timestep: Tensor,
                        model_options: dict[str, Any], *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        """Record the areas and guidance sides of the prompts, which apply_model is not given."""
        options = model_options.get("transformer_options", {})
        run = adapter_options(options).run or self._run(model, x_in.shape[0])
        step = run.step(conds, (int(x_in.shape[-2]), int(x_in.shape[-1])))
        if step is not None:
            model_options = {**model_options, "transformer_options": changed_options(options, step=step)}
        return executor(model, conds, x_in, timestep, self._offering(model_options, run), *args, **kwargs)

    def _offering(self, model_options: dict[str, Any], run: SamplingState) -> dict[str, Any]:
        def offer(x: Tensor, t: Tensor, options: Mapping[str, Any]) -> Control:
            residuals = run.residuals(chunks_of(x, options, adapter_options(options).step), t[0], x.device)
            return as_control(residuals, x.shape[0], inputs_of(residuals))

        # A control does not follow a resized feature map.
        return (
            model_options if resizing(model_options.get("transformer_options", {})) else offering(model_options, offer)
        )

    def _run_of(
        self,
        guider: Any,
        sigmas: Tensor,
        noise: Tensor,
        size: LatentSize | None = None,
        sums: ResidualComputer | None = None,
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
        # For samplers that bypass ComfyUI's own loop.
        return SamplingState(self.stack, self.cell, model, pictures)

    def observe_run(self, executor: Any, guider: Any, sigmas: Tensor, extra_args: Any, callback: Any,
                    noise: Tensor, *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        """Record, for a CONTROL_NET, which prompts the guider has."""
        with during_run(extra_args["model_options"], observed=self._run_of(guider, sigmas, noise)):
            return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)

    def observe_step(self, executor: Any, model: Any, conds: Any, x_in: Tensor, timestep: Tensor,
                     model_options: dict[str, Any], *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        """Record, for a CONTROL_NET, the areas and guidance sides of the prompts."""
        options = model_options.get("transformer_options", {})
        run = adapter_options(options).observed or self._run(model, x_in.shape[0])
        step = run.step(conds, (int(x_in.shape[-2]), int(x_in.shape[-1])), always=True)
        told = {**model_options, "transformer_options": changed_options(options, step=step)}
        return executor(model, conds, x_in, timestep, told, *args, **kwargs)

    @in_node(APPLY_NODE)
    def apply_model(self, executor: Any, x: Tensor, t: Tensor, c_concat: Any = None, c_crossattn: Any = None,
                    control: Any = None, transformer_options: Mapping[str, Any] | None = None,
                    *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        """Hand the residuals of this call to the patches."""
        options = transformer_options or {}
        own = adapter_options(options)
        run = own.run or self._run(executor.class_obj, x.shape[0])
        control, wanted = taken_back(control, offered=own.offered)
        chunks = chunks_of(x, options, own.step)
        run.warn_of_tiles(chunks)
        residuals = run.residuals(chunks, t[0], x.device) if wanted else {}
        if for_tokens(residuals):
            control = merge(run.controls(residuals, x.shape[0]), control)
            options = with_adapter_options(options, AdapterOptions(residuals={}))
        elif _compiled(options):
            # ComfyUI has Dynamo ignore transformer_options, so a compiled UNet would keep the first run's adapters; but
            # Dynamo watches `control`, whose shapes here depend on the size alone.
            _refuse_resizing(options)
            _refuse_patched_blocks(residuals)
            control = merge(run.controls(residuals, x.shape[0]), control) if wanted else control
            options = with_adapter_options(options, AdapterOptions(residuals={}))
        elif any(part == "block" for part, _ in residuals):
            handed = Handed(residuals)
            told = with_adapter_options(options, AdapterOptions(residuals=handed))
            result = executor(x, t, c_concat, c_crossattn, control, told, *args, **kwargs)
            run.check_patches(handed)
            return result
        elif traced(executor.class_obj.diffusion_model):
            # Nothing but the residuals: a compiler watches every attribute that it is handed.
            options = with_adapter_options(options, AdapterOptions(residuals=residuals))
        else:
            # An empty control shows whether another node removes the control for a pass.
            others = options.get("wrappers", {}).get(UNET_WRAPPERS)
            control = {} if control is None and others else control
            options = UNetWrapper(Handed(residuals), control is not None, run.check_patches).around(options)
        return executor(x, t, c_concat, c_crossattn, control, options, *args, **kwargs)


def _compiled(options: Mapping[str, Any]) -> bool:
    kind, key = COMPILE_WRAPPER
    return bool(options.get("wrappers", {}).get(kind, {}).get(key))


def _refuse_patched_blocks(residuals: Residuals) -> None:
    if any(part == "block" for part, _ in residuals):
        raise AdapterError(
            APPLY_NODE,
            "a compiled transformer that takes residuals by patches alone",
            "one that is not compiled",
            "Remove TorchCompileModel.",
            says="A T2I-Adapter can't act in this model while it is compiled.",
        )


def _refuse_resizing(options: Mapping[str, Any]) -> None:
    # ComfyUI would only log that the control's size is wrong, and drop it.
    if resizing(options):
        raise AdapterError(
            APPLY_NODE,
            "a compiled MODEL whose feature maps another node resizes (PatchModelAddDownscale)",
            "one of the two",
            "Remove TorchCompileModel or the downscaling.",
            says="A T2I-Adapter can't follow a model that is both compiled and downscaled.",
        )
