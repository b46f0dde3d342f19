"""T2I Annotate for Adapter: pick the annotator that an adapter was trained with, and run it."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.conditions import NAME
from ..annotators.catalogue import PUBLISHED
from . import host
from .annotation.network_annotator import AnnotationJob, weights_input
from .annotation.network_cache import LOADED_NETWORKS
from .annotation.picture_size import PictureSize, fit_image, picture_size, size_inputs
from .annotation.pictures import ANNOTATOR_CATEGORY, image_input, image_output, resolution_input
from .annotation.presets import ANNOTATE_FOR, AnnotatorPreset, preset_for
from .annotation.weight_files import AUTO, WeightsChoice
from .inputs import checked, name_error
from .search_words import search_words
from .sockets import T2IAdapterSocket

_NODE = "T2IAnnotateFor"


class T2IAnnotateFor(io.ComfyNode):
    """Make the condition image that an adapter expects."""

    def __init__(self) -> None:
        super().__init__()
        self.owner = LOADED_NETWORKS.owner(_NODE)

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateFor",
            display_name="T2I Annotate for Adapter",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="Make the condition image that a T2I-Adapter expects, as it was trained: the annotator is "
            "picked by what the adapter's file says, or by its published name. The node tells what it picked.",
            search_aliases=search_words(
                "T2IAnnotateFor",
                "auto preprocessor",
                "aio preprocessor",
                "which annotator",
                "condition image",
                "hint image",
            ),
            inputs=[
                image_input("The picture to make a condition image of. Batches are done at once; alpha is dropped."),
                resolution_input(
                    " Here 0 is what the adapter was trained with: 384 for SDXL canny and lineart, 512 for SDXL depth "
                    "and pose, 1024 for SDXL sketch, else the picture's own."
                ),
                T2IAdapterSocket.Input("adapter", tooltip="From Load T2I-Adapter."),
                weights_input(_offer()),
                *size_inputs("the image is cropped to it first, and a palette has its cells there."),
            ],
            outputs=[
                image_output(
                    "The condition image, as large as the picture being made, or as the image, for Apply T2I-Adapter."
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, weights: str | None) -> bool | str:
        """Accept every file that exists. For auto, the adapter decides when the node runs."""
        return name_error("weights", weights) or (True if weights == AUTO else _offer().check(weights))

    @classmethod
    def fingerprint_inputs(cls, weights: str | None = None, **_: Any) -> object:
        """Run again when a file was added or replaced."""
        return _offer().fingerprints() if weights in (AUTO, None) else _offer().fingerprint(weights)

    @classmethod
    @checked
    def execute(
        cls,
        image: Tensor,
        adapter: T2IAdapter,
        resolution: int = 0,
        weights: str = AUTO,
        width: int = 0,
        height: int = 0,
        latent: Any = None,
    ) -> io.NodeOutput:
        """Pick the annotator and run it."""
        AnnotationJob(_NODE, ANNOTATE_FOR, image, resolution).planes()  # report a bad image before anything else
        preset = preset_for(adapter)
        size = picture_size(ANNOTATE_FOR, image, width, height, latent)
        side, at = _looked_at(preset, image, resolution, size)
        image = image if size is None else fit_image(ANNOTATE_FOR, image, size)
        job = AnnotationJob(_NODE, ANNOTATE_FOR, image, side, weights)
        told = f"{adapter.info.name} ({adapter.info.family or 'SD'} {preset.condition}): {preset.means}, {at}"
        if adapter.info.condition_from == NAME:
            told = f"{told.removesuffix('.')}. The condition is taken from {NAME}."
        host.tell(told, cls.hidden.unique_id if cls.hidden else None)
        # The loader already swaps red and blue for adapters trained on BGR. Poses are drawn swapped only where the
        # loader's choice differs from the training.
        return preset.make(job, adapter.info.bgr != adapter.bgr)


def _looked_at(preset: AnnotatorPreset, image: Tensor, resolution: int, size: PictureSize | None) -> tuple[int, str]:
    """Return the short side to annotate at (0: the image's own), and its description for the user."""
    side = resolution or preset.resolution
    if size is None and side == 0 and preset.likely is not None:
        side, made = preset.likely(image)
        return side, f"for {made}"
    if size is None:
        return side, f"at {side} pixels" if side else "at the image's size"
    return side, f"for a picture of {size[1]}×{size[0]} pixels" + (f", at {side} pixels" if side else "")


def _offer() -> WeightsChoice:
    return WeightsChoice(PUBLISHED, unknown=False)
