"""Load T2I-Adapter."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..adapter_models.errors import AdapterError
from ..common.checks import check_choice
from . import host
from .inputs import checked, name_error
from .loading import adapters
from .loading.description import summary
from .loading.model_files import ADAPTER_FILES, file_error, file_fingerprint, file_names, find_file
from .search_words import search_words
from .sockets import T2IAdapterSocket

# Values of the combos; None lets the file (colour order) or ComfyUI (precision) decide.
COLOR_ORDERS: dict[str, bool | None] = {"auto": None, "rgb": False, "bgr": True}
COMPUTE_DTYPES: dict[str, torch.dtype | None] = {
    "auto": None,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}

_SEARCH_WORDS = (
    "t2i adapter loader", "load adapter", "controlnet loader", "sketch adapter", "color adapter", "TencentARC",
)  # fmt: skip


class LoadT2IAdapter(io.ComfyNode):
    """Load an adapter file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="LoadT2IAdapter",
            display_name="Load T2I-Adapter",
            category="T2I-Adapter",
            description="Load a T2I-Adapter for SD1.x, SD2.x or SDXL: full, light or XL, in the original or the "
            "diffusers layout. The node reads the network's shape from the file, and its condition from the file or "
            "the file's name.",
            search_aliases=search_words("LoadT2IAdapter", *_SEARCH_WORDS),
            inputs=[
                io.Combo.Input(
                    "adapter_name",
                    options=file_names(ADAPTER_FILES),
                    tooltip="A file in models/controlnet, models/t2i_adapter or output/t2i_adapters, where trained "
                    "ones are. A diffusers folder is one entry. R lists new files.",
                ),
                io.Combo.Input(
                    "color_order",
                    options=list(COLOR_ORDERS),
                    default="auto",
                    advanced=True,
                    tooltip="Channel order the adapter expects. auto (default): bgr for SDXL openpose adapters, "
                    "which were trained that way, and rgb for all others. The node tells you when only the file's name "
                    "says which one it is, or nothing does; choose rgb or bgr then.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=list(COMPUTE_DTYPES),
                    default="auto",
                    advanced=True,
                    tooltip="Precision in which the adapter computes, once per picture. auto (default): that of the "
                    "diffusion model. fp32 costs little and cures black or grainy pictures; fp16 and bf16 halve the "
                    "memory.",
                ),
            ],
            outputs=[T2IAdapterSocket.Output("adapter", tooltip="The adapter, for Apply T2I-Adapter.")],
        )

    @classmethod
    def validate_inputs(cls, adapter_name: str | None = None) -> bool | str:
        """Accept names that a shared workflow has with another subfolder."""
        return name_error("adapter_name", adapter_name) or file_error(ADAPTER_FILES, adapter_name) or True

    @classmethod
    def fingerprint_inputs(
        cls, adapter_name: str | None = None, color_order: str | None = None, dtype: str | None = None
    ) -> object:
        """Load again when the file was replaced."""
        return file_fingerprint(ADAPTER_FILES, adapter_name)

    @classmethod
    @checked
    def execute(cls, adapter_name: str, color_order: str = "auto", dtype: str = "auto") -> io.NodeOutput:
        """Load the adapter."""
        check_choice("Load T2I-Adapter, color_order", color_order, COLOR_ORDERS, error=AdapterError)
        check_choice("Load T2I-Adapter, dtype", dtype, COMPUTE_DTYPES, error=AdapterError)
        path, member = find_file(ADAPTER_FILES, adapter_name)
        adapter = adapters.wrap_adapter(
            path, adapter_name, member, bgr=COLOR_ORDERS[color_order], dtype=COMPUTE_DTYPES[dtype]
        )
        order = adapters.color_order_notice(adapter.info) if color_order == "auto" else ""
        host.show("\n".join(filter(None, (summary(adapter), order))), host.running_node() or None)
        return io.NodeOutput(adapter)
