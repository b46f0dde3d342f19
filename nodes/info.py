"""T2I-Adapter Info and Preview T2I-Adapter Features."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.hint import check_hint
from . import host
from .inputs import checked
from .loading.description import describe
from .sampling.feature_maps import FAINT, compute_features, heat_maps, label_maps, responses
from .sampling.hint_mistakes import image_mistake
from .sockets import T2IAdapterSocket


class T2IAdapterInfo(io.ComfyNode):
    """Describe a loaded adapter."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAdapterInfo",
            display_name="T2I-Adapter Info",
            category="T2I-Adapter",
            description="Tell what a loaded adapter is: family, size, precision, file format, and the condition image "
            "that it expects. Connect text to Preview as Text.",
            search_aliases=["adapter info", "which adapter", "inspect adapter", "what is this file", "metadata"],
            inputs=[T2IAdapterSocket.Input("adapter", tooltip="From Load T2I-Adapter.")],
            outputs=[
                T2IAdapterSocket.Output("adapter", tooltip="The same adapter."),
                io.String.Output("text", tooltip="What it is, one fact a line."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, adapter: T2IAdapter) -> io.NodeOutput:
        """Describe the adapter."""
        return io.NodeOutput(adapter, describe(adapter))


class PreviewT2IAdapterFeatures(io.ComfyNode):
    """Show an adapter's features of a condition image."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        side = {"default": 512, "min": 16, "max": 8192, "step": 8}
        return io.Schema(
            node_id="PreviewT2IAdapterFeatures",
            display_name="Preview T2I-Adapter Features",
            category="T2I-Adapter",
            description="Show where an adapter responds to a condition image: how far each of its four feature maps, "
            "fine to coarse, differs from those of a black image, on one scale. Black maps mean an image that is empty "
            "for this adapter, and the node says so.",
            search_aliases=["adapter features", "feature maps", "heat map", "debug adapter", "adapter has no effect"],
            inputs=[
                T2IAdapterSocket.Input("adapter", tooltip="From Load T2I-Adapter."),
                io.Image.Input("image", tooltip="The condition image. Of a batch the first is shown."),
                io.Int.Input(
                    "width", tooltip="Width of the picture to be made, in pixels: 16 to 8192, default 512.", **side
                ),
                io.Int.Input(
                    "height", tooltip="Height of the picture to be made, in pixels: 16 to 8192, default 512.", **side
                ),
            ],
            outputs=[io.Image.Output("images", tooltip="One heat map per level, fine to coarse.")],
            is_output_node=True,
        )

    @classmethod
    @checked
    def execute(cls, adapter: T2IAdapter, image: torch.Tensor, width: int, height: int) -> io.NodeOutput:
        """Compute the features and paint them."""
        hint = image.movedim(-1, 1) if image.ndim == 4 else image
        check_hint("Preview T2I-Adapter Features, image", hint)
        size = (height, width)
        empty = compute_features(adapter, torch.zeros_like(hint[:1, :, :1, :1]), size)
        moved = responses(compute_features(adapter, hint[:1], size), empty)
        _tell(adapter, hint[:1], faint=max(float(level.max()) for level in moved) < FAINT)
        maps = heat_maps(moved, size)
        return io.NodeOutput(maps, ui=ui.PreviewImage(label_maps(maps, moved), cls=cls))


def _tell(adapter: T2IAdapter, hint: torch.Tensor, *, faint: bool) -> None:
    """Say on the node what is wrong with an image; with ``faint``, that the adapter hardly responds to it."""
    condition = adapter.info.condition
    asked = f"is it {condition.expects}" if condition else "is it of the kind that the adapter was trained on"
    text = image_mistake(adapter.info, hint) or (f"Nearly empty for this adapter: {asked}?" if faint else None)
    if text is not None:
        host.warn(text, host.running_node() or None)
