"""What a MODEL with adapters does during a run: the patches in its UNet and the wrappers around its calls.

Speaks ComfyUI's vocabulary of dictionaries (``transformer_options``, conds) but calls nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..adapter_models.errors import AdapterError
from ..adapter_models.stack import AdapterStack, Chunk, Residuals, Size, add_residual
from .prompts import put_fused
from .run import Run, chunks_of

# What a run puts into transformer_options.
RUN, STEP, RESIDUALS = "t2i_adapter_run", "t2i_adapter_step", "t2i_adapter_residuals"
OBSERVED = "t2i_adapter_observed"


@dataclass(frozen=True, eq=False)
class InputPatch:
    """Adds the residuals after the input blocks."""

    stack: AdapterStack

    def __call__(self, h: Tensor, transformer_options: dict[str, Any]) -> Tensor:
        """Add to the output of the block that ran, if it is a site."""
        residual = _residuals(transformer_options).get(transformer_options["block"])
        return h if residual is None else add_residual(h, residual)

    def models(self) -> list[Any]:
        """Name the models that ComfyUI must load with this one."""
        return self.stack.patchers


@dataclass(frozen=True, eq=False)
class MiddlePatch:
    """Adds the residual after the middle block."""

    stack: AdapterStack

    def __call__(self, args: dict[str, Any]) -> dict[str, Any]:
        """Add to the middle block's output, if it is a site."""
        residual = _residuals(args["transformer_options"]).get(("middle", 0))
        if residual is None:
            return args
        owned = all(site.computes for use in self.stack.uses for site in use.sites)
        return {**args, "h": add_residual(args["h"], residual, in_place=owned)}


def _residuals(transformer_options: Mapping[str, Any]) -> Residuals:
    if RESIDUALS not in transformer_options:
        raise AdapterError(
            "Apply T2I-Adapter",
            "a call of the UNet past ComfyUI's apply_model",
            "one through it",
            "Another custom node replaces how this MODEL is called; try without it.",
        )
    return transformer_options[RESIDUALS]  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class StackEngine:
    """The wrappers of one MODEL. Holds no state of a run, since clones and threads share it.

    Attributes:
        stack: The adapters applied to the MODEL.
        cell: Size of a latent cell in pixels.
    """

    stack: AdapterStack
    cell: int

    def sampler_sample(self, executor: Any, guider: Any, sigmas: Tensor, extra_args: Any, callback: Any,
                       noise: Tensor, *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        """Compute the features before the first step, and drop what the run made however it ends."""
        size = (int(noise.shape[-2]), int(noise.shape[-1]))
        run = Run(
            self.stack.uses,
            self.cell,
            guider.inner_model,
            noise.shape[0],
            sigmas=sigmas.tolist(),
            size=size,
            prompts=guider.conds,
            combination=self.stack.combination,
        )
        self._fuse_style(run, guider.conds, size, noise.device)
        run.residuals([Chunk(size, None, tuple(range(noise.shape[0])))], sigmas[0], noise.device)
        options = extra_args["model_options"].setdefault("transformer_options", {})
        options[RUN] = run
        try:
            return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)
        finally:
            options.pop(RUN, None)

    def _fuse_style(self, run: Run, prompts: Mapping[str, list[Any]], size: Size, device: torch.device) -> None:
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

    def calc_cond_batch(self, executor: Any, model: Any, conds: Any, x_in: Tensor, timestep: Tensor,
                        model_options: dict[str, Any]) -> Any:  # fmt: skip
        """Note what the calls that follow can't see: they get only the rows and the part of x that they work on."""
        options = model_options.get("transformer_options", {})
        run = options.get(RUN) or self._run(model, x_in.shape[0])
        step = run.step(conds, (int(x_in.shape[-2]), int(x_in.shape[-1])))
        if step is not None:
            model_options = {**model_options, "transformer_options": {**options, STEP: step}}
        return executor(model, conds, x_in, timestep, model_options)

    def _run(self, model: Any, pictures: int) -> Run:
        # For samplers that call the model past ComfyUI's own loop.
        return Run(self.stack.uses, self.cell, model, pictures, combination=self.stack.combination)

    def observe_run(self, executor: Any, guider: Any, sigmas: Tensor, extra_args: Any, callback: Any,
                    noise: Tensor, *args: Any, **kwargs: Any) -> Any:  # fmt: skip
        """Note, for a CONTROL_NET, which prompts the guider has."""
        run = Run((), self.cell, guider.inner_model, noise.shape[0], sigmas=sigmas.tolist(), prompts=guider.conds)
        options = extra_args["model_options"].setdefault("transformer_options", {})
        options[OBSERVED] = run
        try:
            return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)
        finally:
            options.pop(OBSERVED, None)

    def observe_step(self, executor: Any, model: Any, conds: Any, x_in: Tensor, timestep: Tensor,
                     model_options: dict[str, Any]) -> Any:  # fmt: skip
        """Note, for a CONTROL_NET, what it can't see of a step."""
        options = model_options.get("transformer_options", {})
        run = options.get(OBSERVED) or Run((), self.cell, model, x_in.shape[0])
        step = run.step(conds, (int(x_in.shape[-2]), int(x_in.shape[-1])), always=True)
        return executor(model, conds, x_in, timestep, {**model_options, "transformer_options": {**options, STEP: step}})

    def apply_model(self, executor: Any, x: Tensor, t: Tensor, c_concat: Any = None, c_crossattn: Any = None,
                    control: Any = None, transformer_options: Mapping[str, Any] | None = None,
                    **kwargs: Any) -> Any:  # fmt: skip
        """Put the residuals of this call where the patches find them."""
        options = dict(transformer_options or {})
        run = options.get(RUN) or self._run(executor.class_obj, x.shape[0])
        chunks = chunks_of(x, options, options.get(STEP))
        run.warn_of_tiles(chunks)
        options[RESIDUALS] = run.residuals(chunks, t[0], x.device)
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
