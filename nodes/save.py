"""Save T2I-Adapter."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.errors import AdapterError
from ..adapter_models.saving import FILE_DTYPES, FILE_LAYOUTS
from ..common.checks import check_choice
from ..training.checkpoints import trouble
from ..training.run_names import check_prefix, require_inside
from ..training.runs import remove_unfinished
from . import host
from .inputs import checked
from .search_words import search_words
from .sockets import T2IAdapterSocket
from .training.adapter_files import write_adapter

# Seconds after which an unfinished file counts as abandoned.
ABANDONED = 3600


class SaveT2IAdapter(io.ComfyNode):
    """Write an adapter to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="SaveT2IAdapter",
            display_name="Save T2I-Adapter",
            category="T2I-Adapter/training",
            description="Write an adapter into the output folder, for Load T2I-Adapter, ComfyUI's own loader or "
            "diffusers. Also converts adapters from one layout or precision to another.",
            search_aliases=search_words(
                "SaveT2IAdapter", "export adapter", "convert adapter", "write adapter", "save controlnet", "diffusers"
            ),
            inputs=_inputs(),
            outputs=[],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @checked
    def execute(
        cls,
        adapter: T2IAdapter,
        filename_prefix: str = "t2i_adapters/adapter",
        format: str = "original",
        dtype: str = "fp32",
    ) -> io.NodeOutput:
        """Write the adapter."""
        check_choice("Save T2I-Adapter, dtype", dtype, FILE_DTYPES, error=AdapterError)
        check_choice("Save T2I-Adapter, format", format, [row.name for row in FILE_LAYOUTS], error=AdapterError)
        output = host.output_folder()
        require_inside((output / check_prefix(filename_prefix)).parent, output)
        try:
            folder, name = host.output_path(filename_prefix)
            remove_unfinished(folder.iterdir(), age=ABANDONED)
        except OSError as error:
            raise trouble(output / filename_prefix, error) from error
        path = write_adapter(adapter, folder / name, format, FILE_DTYPES[dtype])
        found = output / host.TRAINED_FOLDERS[0] in path.parents
        told = "Press R to find it in Load T2I-Adapter." if found else "Move it to models/controlnet to load it."
        host.tell(f"Saved {path}. {told}", cls.hidden.unique_id if cls.hidden else None)
        return io.NodeOutput()


def _inputs() -> list[Any]:
    return [
        T2IAdapterSocket.Input("adapter", tooltip="From Train T2I-Adapter, or from Load T2I-Adapter to convert it."),
        io.String.Input(
            "filename_prefix",
            default="t2i_adapters/adapter",
            tooltip="Folder and name in the output folder, default t2i_adapters/adapter; a number is added. Load "
            "T2I-Adapter finds files in t2i_adapters: press R to list them. Move those of other folders to "
            "models/controlnet.",
        ),
        io.Combo.Input(
            "format",
            options=[row.name for row in FILE_LAYOUTS],
            default="original",
            tooltip="original (default): one file that every program for T2I-Adapters reads. diffusers: a folder for "
            "diffusers, except for size tiny, and for size small with SDXL. The pictures are the same.",
        ),
        io.Combo.Input(
            "dtype",
            options=list(FILE_DTYPES),
            default="fp32",
            advanced=True,
            tooltip="Precision of the file. fp32 (default) is exact; fp16 and bf16 halve the size and hardly change "
            "the pictures.",
        ),
    ]
