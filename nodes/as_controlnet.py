"""T2I-Adapter as ControlNet."""

from __future__ import annotations

from comfy_api.latest import io

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.weights import NEUTRAL, Weights
from .inputs import checked
from .sampling.control_net import T2IAdapterControl
from .search_words import search_words
from .sockets import T2IAdapterSocket, WeightsSocket


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
            "It acts on one prompt instead of the whole model.",
            search_aliases=search_words(
                "T2IAdapterToControlNet", "adapter to controlnet", "control net", "regional", "tile", "upscale"
            ),
            inputs=[
                T2IAdapterSocket.Input("adapter", tooltip="From Load T2I-Adapter."),
                WeightsSocket.Input(
                    "weights",
                    optional=True,
                    tooltip="From T2I-Adapter Level Weights or T2I-Adapter Schedule: factors of the strength.",
                ),
            ],
            outputs=[
                io.ControlNet.Output(
                    "control_net",
                    tooltip="For Apply ControlNet and all that take one. Apply Advanced ControlNet's mask, keyframes "
                    "and weights act too, except weights for a ControlNet and weights with a mask: use T2I-Adapter "
                    "Level Weights or Schedule here, or the mask of Apply T2I-Adapter.",
                )
            ],
        )

    @classmethod
    @checked
    def execute(cls, adapter: T2IAdapter, weights: Weights | None = None) -> io.NodeOutput:
        """Wrap the adapter."""
        return io.NodeOutput(T2IAdapterControl(adapter, weights or NEUTRAL))
