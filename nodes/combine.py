"""Load CoAdapter Fuser and Combine T2I-Adapters."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..adapter_models.combine import METHODS, Method, T2IFuser
from . import host
from .inputs import checked, name_error
from .loading import adapters
from .loading.model_files import FUSER_FILES, file_error, file_fingerprint, file_names, find_file
from .sampling.combining import COMBINE_NODE, combine_adapters
from .search_words import search_words
from .sockets import FuserSocket


class LoadCoAdapterFuser(io.ComfyNode):
    """Load a fuser's file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="LoadCoAdapterFuser",
            display_name="Load CoAdapter Fuser",
            category="T2I-Adapter",
            description="Load the network that balances CoAdapters which act together, for Combine T2I-Adapters.",
            search_aliases=search_words(
                "LoadCoAdapterFuser", "coadapter", "fuser", "combine adapters", "multi adapter"
            ),
            inputs=[
                io.Combo.Input(
                    "fuser_name",
                    options=file_names(FUSER_FILES),
                    tooltip="A file in models/controlnet, models/t2i_adapter or models/style_models, such as "
                    "coadapter-fuser-sd15v1.",
                ),
            ],
            outputs=[FuserSocket.Output("fuser", tooltip="For Combine T2I-Adapters.")],
        )

    @classmethod
    def validate_inputs(cls, fuser_name: str | None = None) -> bool | str:
        """Accept names that a shared workflow has with another subfolder."""
        return name_error("fuser_name", fuser_name) or file_error(FUSER_FILES, fuser_name) or True

    @classmethod
    def fingerprint_inputs(cls, fuser_name: str | None = None) -> object:
        """Load again when the file was replaced."""
        return file_fingerprint(FUSER_FILES, fuser_name)

    @classmethod
    @checked
    def execute(cls, fuser_name: str) -> io.NodeOutput:
        """Load the fuser."""
        return io.NodeOutput(adapters.load_fuser(find_file(FUSER_FILES, fuser_name)[0], fuser_name))


class CombineT2IAdapters(io.ComfyNode):
    """Set how the adapters of a MODEL are combined."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="CombineT2IAdapters",
            display_name="Combine T2I-Adapters",
            category="T2I-Adapter",
            description="Choose how the adapters of this MODEL act together: added up, as a weighted mean, or balanced "
            "by the CoAdapter fuser. Costs nothing per step.",
            search_aliases=search_words(
                "CombineT2IAdapters",
                "coadapter",
                "multi adapter",
                "fuse adapters",
                "mix adapters",
                "mean",
                "several adapters",
            ),
            inputs=[
                io.Model.Input("model", tooltip="A model that went through Apply T2I-Adapter. It is cloned."),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    default=METHODS[0],
                    tooltip="sum (default): the adapters add up, as without this node. mean: they share one strength, "
                    "the largest of theirs, in proportion to their strengths; good against overdone pictures. "
                    "coadapter: the fuser balances them; for CoAdapters of SD1.5, one of each condition.",
                ),
                FuserSocket.Input(
                    "fuser", optional=True, tooltip="From Load CoAdapter Fuser, for the method coadapter."
                ),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="The prompt from Apply T2I Style Adapter, if its style is to take part in the fuser. Use "
                    "the output positive instead of it.",
                ),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The model, for a sampler or for more adapters."),
                io.Conditioning.Output(
                    "positive", tooltip="The prompt, for the sampler: its style is fused when the sampler runs."
                ),
            ],
        )

    @classmethod
    @checked
    def execute(
        cls,
        model: Any,
        method: Method = METHODS[0],
        fuser: T2IFuser | None = None,
        positive: list[Any] | None = None,
    ) -> io.NodeOutput:
        """Clone the model and set the combination."""
        patched = combine_adapters(model, method, fuser, positive)
        # Without the input there is no output: nodes that use it show this message.
        through = host.blocked(f"{COMBINE_NODE}: connect its input positive to use its output positive.")
        return io.NodeOutput(patched, through if positive is None else positive)
