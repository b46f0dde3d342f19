"""Apply T2I-Adapter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.applied import AppliedAdapter
from ..adapter_models.hint import FITS, Fit
from ..adapter_models.weights import NEUTRAL, Weights
from . import host
from .inputs import checked
from .sampling import attach
from .sampling.notices import ApplyNotice
from .sampling.settings import check_settings, checked_hint, checked_mask
from .search_words import search_words
from .sockets import T2IAdapterSocket, WeightsSocket


class ApplyT2IAdapter(io.ComfyNode):
    """Attach an adapter and its condition image to a MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="ApplyT2IAdapter",
            display_name="Apply T2I-Adapter",
            category="T2I-Adapter",
            description="Make the pictures of this MODEL follow a condition image: a sketch, a depth map, a pose, a "
            "palette… Apply again to stack adapters; together they cost per step what one costs.",
            search_aliases=search_words(
                "ApplyT2IAdapter",
                "t2i adapter",
                "apply adapter",
                "controlnet",
                "sketch to image",
                "scribble",
                "pose",
                "depth",
                "color",
                "palette",
            ),
            inputs=_inputs(),
            outputs=[io.Model.Output("model", tooltip="The model with the adapter, for a sampler or another adapter.")],
        )

    @classmethod
    @checked
    def execute(
        cls,
        model: Any,
        adapter: T2IAdapter,
        image: torch.Tensor,
        strength: float = 1.0,
        start_percent: float = 0.0,
        end_percent: float = 1.0,
        fit: Fit = "crop",
        mask: torch.Tensor | None = None,
        weights: Weights | None = None,
        show_image: bool = False,
    ) -> io.NodeOutput:
        """Clone the model and add the adapter."""
        hint = checked_hint(image)
        check_settings(fit, strength=strength, start_percent=start_percent, end_percent=end_percent)
        sites = attach.sites_in(model, adapter)
        mask = checked_mask(mask)
        notice = ApplyNotice.of(model, adapter, hint, mask, host.running_node() or None)
        notice = replace(notice, shows_image=bool(show_image))
        notice.tell()
        if strength == 0.0:
            return io.NodeOutput(model)
        use = AppliedAdapter(
            adapter,
            hint,
            sites,
            strength,
            start_percent,
            end_percent,
            fit,
            mask,
            weights or NEUTRAL,
            source=image,
            origin=notice,
        )
        return io.NodeOutput(attach.apply_adapter(model, use))


def _inputs() -> list[Any]:
    percent = {"min": 0.0, "max": 1.0, "step": 0.01}
    return [
        io.Model.Input("model", tooltip="The diffusion model. It is cloned, not changed."),
        T2IAdapterSocket.Input("adapter", tooltip="From Load T2I-Adapter."),
        io.Image.Input(
            "image",
            tooltip="The condition image, of the kind that the adapter was trained on: white lines on black "
            "for sketch and canny, near is white for depth. Any size. In a batch, picture i takes image i; "
            "fewer images repeat, extra ones are ignored.",
        ),
        io.Float.Input(
            "strength",
            default=1.0,
            min=-10.0,
            max=10.0,
            step=0.05,
            tooltip="How closely the picture follows. 0: not at all, 1 (default): as trained; the authors go up to "
            "1.5. Below 0 it pushes away from the image. -10 to 10.",
        ),
        io.Float.Input(
            "start_percent",
            default=0.0,
            **percent,
            tooltip="Where in the noise schedule it begins, 0 (default) to 1. The beginning decides the composition.",
        ),
        io.Float.Input(
            "end_percent",
            default=1.0,
            **percent,
            tooltip="Where in the noise schedule it ends, 0 to 1 (default). Lower leaves the details to the model: "
            "0.4 to 0.7 suits rough sketches.",
        ),
        io.Combo.Input(
            "fit",
            options=list(FITS),
            default="crop",
            tooltip="If the aspect ratios of image and picture differ: crop (default) cuts the edges of the image, "
            "stretch distorts it, pad shows all of it and repeats its edge.",
        ),
        *_optional_inputs(),
    ]


def _optional_inputs() -> list[Any]:
    return [
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="Where it acts: fully where white, not at all where black. In a batch, picture i takes mask i.",
        ),
        WeightsSocket.Input(
            "weights",
            optional=True,
            tooltip="From T2I-Adapter Level Weights or T2I-Adapter Schedule: factors of the strength.",
        ),
        io.Boolean.Input(
            "show_image",
            default=False,
            optional=True,
            advanced=True,
            tooltip="Show on this node, when sampling starts, the image as it is used: fitted to the picture, and red "
            "where the mask keeps the adapter out. Off by default. The picture is the same.",
        ),
    ]
