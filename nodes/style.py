"""Load T2I Style Adapter and Apply T2I Style Adapter."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..adapter_models.style import T2IStyleAdapter
from .inputs import checked, name_error
from .loading import adapters
from .loading.model_files import STYLE_FILES, file_error, file_fingerprint, file_names, find_file
from .sampling.style_prompts import apply_style
from .search_words import search_words
from .sockets import StyleAdapterSocket


class LoadT2IStyleAdapter(io.ComfyNode):
    """Load a style adapter's file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="LoadT2IStyleAdapter",
            display_name="Load T2I Style Adapter",
            category="T2I-Adapter",
            description="Load a T2I style adapter or a CoAdapter's style adapter, for SD1.x: it takes the style of a "
            "reference picture into the prompt.",
            search_aliases=search_words(
                "LoadT2IStyleAdapter",
                "style model",
                "style transfer",
                "load style",
                "coadapter style",
                "reference picture",
            ),
            inputs=[
                io.Combo.Input(
                    "style_name",
                    options=file_names(STYLE_FILES),
                    tooltip="A file in models/style_models, models/controlnet or models/t2i_adapter, such as "
                    "t2iadapter_style_sd14v1.",
                ),
            ],
            outputs=[StyleAdapterSocket.Output("style_adapter", tooltip="For Apply T2I Style Adapter.")],
        )

    @classmethod
    def validate_inputs(cls, style_name: str | None = None) -> bool | str:
        """Accept names that a shared workflow has with another subfolder."""
        return name_error("style_name", style_name) or file_error(STYLE_FILES, style_name) or True

    @classmethod
    def fingerprint_inputs(cls, style_name: str | None = None) -> object:
        """Load again when the file was replaced."""
        return file_fingerprint(STYLE_FILES, style_name)

    @classmethod
    @checked
    def execute(cls, style_name: str) -> io.NodeOutput:
        """Load the style adapter."""
        return io.NodeOutput(adapters.load_style_adapter(find_file(STYLE_FILES, style_name)[0], style_name))


class ApplyT2IStyleAdapter(io.ComfyNode):
    """Append the style of a reference picture to a prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="ApplyT2IStyleAdapter",
            display_name="Apply T2I Style Adapter",
            category="T2I-Adapter",
            description="Make pictures of this prompt take the style of a reference picture: its colours, light and "
            "technique. The style joins the prompt as a few more words; prompts of any length keep all of theirs.",
            search_aliases=search_words(
                "ApplyT2IStyleAdapter", "style transfer", "apply style model", "reference style", "image prompt", "look"
            ),
            inputs=[
                io.Conditioning.Input(
                    "conditioning", tooltip="The positive prompt, from a text encoder of SD1.x. It is not changed."
                ),
                StyleAdapterSocket.Input("style_adapter", tooltip="From Load T2I Style Adapter."),
                io.ClipVisionOutput.Input(
                    "clip_vision_output",
                    tooltip="From CLIP Vision Encode with clip-vit-large-patch14. Each picture of a batch adds its "
                    "style.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How much of the style the picture takes. 0: nothing, 1 (default): as trained, up to 10; "
                    "lower if the style pushes the prompt aside.",
                ),
            ],
            outputs=[io.Conditioning.Output("conditioning", tooltip="The prompt with the style, for a sampler.")],
        )

    @classmethod
    @checked
    def execute(
        cls, conditioning: list[Any], style_adapter: T2IStyleAdapter, clip_vision_output: Any, strength: float = 1.0
    ) -> io.NodeOutput:
        """Append the style's tokens to each prompt."""
        return io.NodeOutput(apply_style(conditioning, style_adapter, clip_vision_output, strength))
