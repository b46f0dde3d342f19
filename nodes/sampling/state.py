"""The state of one sampling run of a MODEL with adapters: its place in time, and the role of each prompt."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...adapter_models.calls import Area, Call, Chunk, Residuals
from ...adapter_models.stack import READY_SUMS, AdapterStack, ResidualComputer
from ...adapter_models.targets import LatentSize
from ...adapter_models.weights import Moment, Side
from .clock import Clock
from .control_lists import as_control, inputs_of
from .handed import Handed

_log = logging.getLogger(__name__)
# Names that guiders give their lists of negative prompts; all other lists are positive.
NEGATIVE_PROMPTS = ("negative", "empty_negative_prompt")


@dataclass(frozen=True)
class Step:
    """The facts about one step that ComfyUI does not pass to apply_model.

    Attributes:
        size: Height and width of the whole latent.
        areas: The part of the latent that each prompt acts on, by the prompt's id and the number of its list.
        sides: Side of the guidance of each list of prompts.
        silent: The prompts, named as in ``areas``, for which a guider switches control off in this step.
    """

    size: LatentSize
    areas: Mapping[tuple[Any, int], Area]
    sides: tuple[Side, ...]
    silent: frozenset[tuple[Any, int]] = frozenset()


class SamplingState:
    """One sampling run of a MODEL with adapters.

    Args:
        stack: The adapters, and how they combine.
        cell: Size of a latent cell in pixels.
        model: ComfyUI's BaseModel.
        pictures: Size of the batch.
        sigmas: Noise levels of the steps.
        size: Height and width of the latent, if known.
        prompts: The guider's lists of prompts by name.
        sums: The residuals of the stack, if their features were prepared before the run.
    """

    def __init__(
        self,
        stack: AdapterStack,
        cell: int,
        model: Any,
        pictures: int,
        *,
        sigmas: Sequence[float] = (),
        size: LatentSize | None = None,
        prompts: Mapping[str, Any] | None = None,
        sums: ResidualComputer | None = None,
    ) -> None:
        self.uses = uses = stack.uses
        self.size = size
        self.pictures = pictures
        self.sigmas = sigmas
        self.dtype = model.get_dtype_inference()
        begun = sums is not None and sums.uses is stack.uses and sums.pictures == pictures
        # A guider of two models prepares both before it samples: don't take the other stack's.
        self.sums = (
            sums if begun and sums is not None else ResidualComputer(stack.uses, cell, pictures, stack.combination)
        )
        # Runs of the CONTROL_NETs inside this run, by CONTROL_NET. They end with it.
        self.guests: dict[object, Any] = {}
        self._patches_run = False
        self._controls: OrderedDict[tuple[int, int], tuple[Residuals, dict[str, list[Tensor | None]]]] = OrderedDict()
        self.clock = Clock(model.model_sampling, sigmas)
        self.prompts = {name: (group, _ids(group)) for name, group in (prompts or {}).items()}
        self.differs_by_side = any(use.differs_by_side for use in uses)
        to_sigma = model.model_sampling.percent_to_sigma
        self.ranges = [(to_sigma(use.start_percent), to_sigma(use.end_percent)) for use in uses]
        always = all(use.always for use in uses)
        self.constant = tuple(use.factors(Moment(0.0, 0.0)) for use in uses) if always else None

    def residuals(self, chunks: Iterable[Chunk], sigma: Tensor, device: torch.device) -> Residuals:
        """Return the residuals of a call of the UNet at a noise level."""
        return self.sums.residuals(Call(tuple(chunks), self.constant or self._factors(sigma), device, self.dtype))

    def controls(self, residuals: Residuals, rows: int) -> dict[str, list[Tensor | None]]:
        """Return residuals as a control whose shapes depend on the rows alone, made once for the same residuals.

        Args:
            residuals: As :meth:`residuals` returned them.
            rows: Rows of the UNet's call.

        Returns:
            Lists for ``control``, each tensor contiguous and of that many rows. A UNet empties lists: hand it copies.
        """
        key = (id(residuals), rows)
        found, control = self._controls.get(key, (None, {}))
        if found is not residuals:
            control = {
                name: [None if each is None else each.expand(rows, *each.shape[1:]).contiguous() for each in values]
                for name, values in as_control(residuals, rows, inputs_of(residuals)).items()
            }
            self._controls[key] = (residuals, control)
            while len(self._controls) > READY_SUMS:
                self._controls.popitem(last=False)
        return control

    def _factors(self, sigma: Tensor) -> tuple[tuple[float, ...], ...]:
        now = float(sigma)  # synchronises with the device, so only if an adapter changes over time
        moment = self.clock.moment(now) if any(use.weights.changes for use in self.uses) else Moment(0.0, 0.0)
        ranges = zip(self.uses, self.ranges, strict=True)
        return tuple(use.factors(moment if first >= now >= last else None) for use, (first, last) in ranges)

    def step(self, conds: Sequence[Any], size: LatentSize, *, always: bool = False) -> Step | None:
        """Record areas, sides and switched-off control of the prompts; None if none matters, unless ``always``."""
        areas = {
            (cond["uuid"], number): area_of(cond["area"], size)
            for number, group in enumerate(conds)
            for cond in group or ()
            if cond.get("area") is not None
        }
        # ComfyUI omits the key if there is no control; a guider that sets it to None switches control off.
        silent = frozenset(
            (cond.get("uuid"), number)
            for number, group in enumerate(conds)
            for cond in group or ()
            if "control" in cond and cond["control"] is None
        )
        if not (areas or silent or self.differs_by_side or always):
            return None
        return Step(size, areas, tuple(self._side(number, group) for number, group in enumerate(conds)), silent)

    def _side(self, number: int, group: Any) -> Side:
        # The order of the lists depends on the guider. Identify a list by identity, or by its prompts if it is a copy
        # (a window of a video).
        same = next((name for name, (known, _) in self.prompts.items() if known is group), None)
        if same is None and group:
            same = next((name for name, (_, ids) in self.prompts.items() if ids == _ids(group)), None)
        if same is None:
            same = "positive" if number == 0 else "negative"
        return "negative" if same in NEGATIVE_PROMPTS else "positive"

    def check_patches(self, handed: Handed) -> None:
        """Refuse a UNet whose first call in a run skips the patches; later calls may skip them for a cache."""
        if not self._patches_run:
            handed.check()
            self._patches_run = True

    def warn_of_tiles(self, chunks: Iterable[Chunk]) -> None:
        """Warn once that a sampler works on tiles without telling their places.

        A latent that grows during the run (samplers that upscale) is not a tile: its new size becomes the whole.
        """
        tile = None
        for size in {chunk.size for chunk in chunks} if self.size else ():
            if size[0] < self.size[0] or size[1] < self.size[1]:
                tile = size
            else:
                self.size = size
        if tile is not None:
            _log.warning(
                "Apply T2I-Adapter: the sampler works on tiles of %d×%d latent cells and does not tell where they lie, "
                "so each tile follows the whole condition image.",
                tile[1],
                tile[0],
            )
            self.size = None


def chunks_of(x: Tensor, options: Mapping[str, Any], step: Step | None) -> list[Chunk]:
    """Split a call of the UNet into its prompts.

    Args:
        x: (prompts · pictures, C, h, w).
        options: ComfyUI's ``transformer_options``.
        step: The facts about the step, or None if they don't matter.

    Returns:
        One chunk per prompt, in the order of the rows.
    """
    numbers = options.get("cond_or_uncond") or [0]
    count = len(numbers) if x.shape[0] % len(numbers) == 0 else 1
    frames = _frames(x.shape[0] // count, options)
    size = (int(x.shape[-2]), int(x.shape[-1]))
    if step is None:
        return [Chunk(size, None, frames)] * count
    ids = options.get("uuids") or [None] * len(numbers)
    chunks = []
    for ident, number in list(zip(ids, numbers, strict=True))[:count]:
        area = step.areas.get((ident, number))
        whole = size if area is None else step.size
        chunks.append(Chunk(whole, area, frames, step.sides[number], (ident, number) in step.silent))
    return chunks


def area_of(area: Sequence[int], size: LatentSize) -> Area:
    """Return height, width, top and left of ComfyUI's ``area`` of any dimensions, cut to the latent."""
    dimensions = len(area) // 2
    (height, width), (top, left) = area[dimensions - 2 : dimensions], area[-2:]
    return min(size[0] - top, height), min(size[1] - left, width), top, left


def _ids(group: Any) -> frozenset[Any]:
    return frozenset(cond.get("uuid") for cond in group or ())


def _frames(pictures: int, options: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the index in the batch of each picture in this call: all, or those of a window of a video."""
    window = options.get("context_window")
    if window is not None:
        anchor = getattr(window, "causal_anchor_index", None)
        frames = [*([anchor] if anchor is not None and anchor >= 0 else []), *window.index_list]
    else:
        frames = list((options.get("ad_params") or {}).get("sub_idxs") or ())  # AnimateDiff-Evolved
    return tuple(frames) if len(frames) == pictures else tuple(range(pictures))
