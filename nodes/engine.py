"""What a MODEL with adapters does during a run: the patches in its UNet and the wrappers around its calls.

Speaks ComfyUI's vocabulary of dictionaries (``transformer_options``, conds) but calls nothing of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..adapter_models.errors import AdapterError
from ..adapter_models.stack import AdapterStack, Area, Call, Chunk, Residuals, StackRun, add_residual

logger = logging.getLogger(__name__)
# What a run puts into transformer_options.
RUN, AREAS, RESIDUALS = "t2i_adapter_run", "t2i_adapter_areas", "t2i_adapter_residuals"


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
        return list({id(use.adapter): use.adapter.patcher for use in self.stack.uses}.values())


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
        model = guider.inner_model
        size = (int(noise.shape[-2]), int(noise.shape[-1]))
        run = Run(self, model, noise.shape[0], size)
        run.residuals([Chunk(size, None, tuple(range(noise.shape[0])))], sigmas[0], noise.device)
        options = extra_args["model_options"].setdefault("transformer_options", {})
        options[RUN] = run
        try:
            return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)
        finally:
            options.pop(RUN, None)

    def calc_cond_batch(self, executor: Any, model: Any, conds: Any, x_in: Tensor, timestep: Tensor,
                        model_options: dict[str, Any]) -> Any:  # fmt: skip
        """Note which prompt has which area, for the calls that follow: the UNet sees only the part of x."""
        size = (int(x_in.shape[-2]), int(x_in.shape[-1]))
        areas = {
            (cond["uuid"], number): _area(cond["area"], size)
            for number, group in enumerate(conds)
            for cond in group or ()
            if cond.get("area") is not None
        }
        if areas:
            options = {**model_options.get("transformer_options", {}), AREAS: AreasOfStep(size, areas)}
            model_options = {**model_options, "transformer_options": options}
        return executor(model, conds, x_in, timestep, model_options)

    def apply_model(self, executor: Any, x: Tensor, t: Tensor, c_concat: Any = None, c_crossattn: Any = None,
                    control: Any = None, transformer_options: Mapping[str, Any] | None = None,
                    **kwargs: Any) -> Any:  # fmt: skip
        """Put the residuals of this call where the patches find them."""
        options = dict(transformer_options or {})
        run = options.get(RUN) or Run(self, executor.class_obj, x.shape[0])
        chunks = _chunks(x, options)
        run.warn_of_tiles(chunks)
        options[RESIDUALS] = run.residuals(chunks, t[0], x.device)
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)


@dataclass(frozen=True)
class AreasOfStep:
    """The areas of a step's prompts, by the prompt's id and the number of its list."""

    size: tuple[int, int]
    areas: Mapping[tuple[Any, int], Area]


class Run:
    """One sampling run of a MODEL with adapters.

    Args:
        engine: The MODEL's engine.
        model: ComfyUI's BaseModel.
        pictures: Size of the batch.
        size: Height and width of the latent, where known.
    """

    def __init__(self, engine: StackEngine, model: Any, pictures: int, size: tuple[int, int] | None = None) -> None:
        self.uses = engine.stack.uses
        self.size = size
        self.dtype = model.get_dtype_inference()
        self.sums = StackRun(self.uses, engine.cell, pictures)
        # At run time, since a later node may have replaced the model's sampling.
        to_sigma = model.model_sampling.percent_to_sigma
        self.sigmas = [(to_sigma(use.start_percent), to_sigma(use.end_percent)) for use in self.uses]
        self.constant = tuple(use.strength for use in self.uses) if all(use.always for use in self.uses) else None

    def residuals(self, chunks: list[Chunk], sigma: Tensor, device: torch.device) -> Residuals:
        """Return the residuals of a call of the UNet at a noise level."""
        return self.sums.residuals(Call(tuple(chunks), self.constant or self._weights(sigma), device, self.dtype))

    def warn_of_tiles(self, chunks: list[Chunk]) -> None:
        """Say once that a sampler works on parts of the picture without telling which."""
        if self.size is not None and any(chunk.size != self.size for chunk in chunks):
            height, width = chunks[0].size
            logger.warning(
                "Apply T2I-Adapter: the sampler works on tiles of %d×%d latent cells and does not tell where they lie, "
                "so each tile follows the whole condition image.",
                width,
                height,
            )
            self.size = None

    def _weights(self, sigma: Tensor) -> tuple[float, ...]:
        now = float(sigma)  # waits for the device, so only where an adapter has a range
        active = (first >= now >= last for first, last in self.sigmas)
        return tuple(use.strength if on else 0.0 for use, on in zip(self.uses, active, strict=True))


def _chunks(x: Tensor, options: Mapping[str, Any]) -> list[Chunk]:
    numbers = options.get("cond_or_uncond") or [0]
    count = len(numbers) if x.shape[0] % len(numbers) == 0 else 1
    frames = _frames(x.shape[0] // count, options)
    known: AreasOfStep | None = options.get(AREAS)
    size = (int(x.shape[-2]), int(x.shape[-1]))
    whole = Chunk(size, None, frames)
    if known is None:
        return [whole] * count
    ids = options.get("uuids") or [None] * count
    areas = [known.areas.get((ident, number)) for ident, number in zip(ids, numbers, strict=True)]
    return [whole if area is None else Chunk(known.size, area, frames) for area in areas]


def _frames(pictures: int, options: Mapping[str, Any]) -> tuple[int, ...]:
    window = options.get("context_window")
    if window is None:
        return tuple(range(pictures))
    anchor = getattr(window, "causal_anchor_index", None)
    frames = [*([anchor] if anchor is not None and anchor >= 0 else []), *window.index_list]
    return tuple(frames) if len(frames) == pictures else tuple(range(pictures))


def _area(area: tuple[int, ...], size: tuple[int, int]) -> Area:
    height, width, top, left = area[-4:] if len(area) == 4 else (*area[1:3], *area[-2:])
    return min(size[0] - top, height), min(size[1] - left, width), top, left
