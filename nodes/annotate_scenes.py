"""Annotators that understand a scene: depth and segmentation, with networks of transformers."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..annotators.depth import normalize_depth
from ..annotators.networks.depth_networks import estimate_depth
from ..annotators.networks.label_networks import segment
from ..annotators.segmentation import paint
from .annotation.network_annotator import DEPTH, SEGMENTATION, AnnotationJob, TransformersModule, weights_input
from .annotation.network_cache import NETWORKS
from .annotation.pictures import CATEGORY, image_input, image_output, resolution_input
from .annotation.weight_files import AUTO, WeightsChoice
from .inputs import checked


class T2IAnnotateDepth(io.ComfyNode):
    """Estimate depth."""

    def __init__(self) -> None:
        super().__init__()
        self.keeper = NETWORKS.keeper("T2IAnnotateDepth")

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateDepth",
            display_name="T2I Depth",
            category=CATEGORY,
            description="Estimate the depth of a picture, near is white: what the depth and zoedepth adapters were "
            "trained on. Depth of any other node goes through T2I Normalize Depth instead.",
            search_aliases=["midas", "dpt", "zoedepth", "depth anything", "depth map", "preprocessor", "depth adapter"],
            inputs=[
                image_input(),
                resolution_input(" The SDXL adapters were trained with 512."),
                weights_input(
                    DEPTH.weights,
                    " dpt-hybrid-midas is what the SD1.x depth adapters were trained with, dpt-large the SDXL one, "
                    "zoedepth-nyu-kitti the zoedepth adapters; depth-anything-v2-small is small and good.",
                ),
            ],
            outputs=[image_output("The depth, near is white, as large as the image.")],
        )

    @classmethod
    def validate_inputs(cls, weights: str | None) -> bool | str:
        """Accept every file that can be found, and downloads also when the file is there."""
        return DEPTH.weights.check(weights)

    @classmethod
    def fingerprint_inputs(cls, weights: str | None = None, **_: Any) -> object:
        """Estimate again when the weights were replaced."""
        return DEPTH.weights.fingerprint(weights)

    @classmethod
    @checked
    def execute(cls, image: Tensor, resolution: int = 0, weights: str = AUTO) -> io.NodeOutput:
        """Estimate the depth."""
        return draw_depth(AnnotationJob("T2IAnnotateDepth", "T2I Depth", image, resolution, weights))


class T2IAnnotateSegmentation(io.ComfyNode):
    """Segment a picture into the classes of COCO-Stuff."""

    def __init__(self) -> None:
        super().__init__()
        self.keeper = NETWORKS.keeper("T2IAnnotateSegmentation")

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateSegmentation",
            display_name="T2I Segmentation",
            category=CATEGORY,
            description="Find what is where in a picture, in the 182 classes and the very colours that the "
            "segmentation adapter was trained on. T2I Paint Segmentation changes the result by hand.",
            search_aliases=["seg", "semantic segmentation", "coco stuff", "maskformer", "seg adapter", "preprocessor"],
            inputs=[
                image_input(),
                resolution_input(),
                weights_input(SEGMENTATION.weights, " Their authors state no licence."),
            ],
            outputs=[image_output("One colour for each class, black where there is none, as large as the image.")],
        )

    @classmethod
    def validate_inputs(cls, weights: str | None) -> bool | str:
        """Accept every file that can be found, and downloads also when the file is there."""
        return SEGMENTATION.weights.check(weights)

    @classmethod
    def fingerprint_inputs(cls, weights: str | None = None, **_: Any) -> object:
        """Segment again when the weights were replaced."""
        return SEGMENTATION.weights.fingerprint(weights)

    @classmethod
    @checked
    def execute(cls, image: Tensor, resolution: int = 0, weights: str = AUTO) -> io.NodeOutput:
        """Segment the picture."""
        return draw_segmentation(
            AnnotationJob("T2IAnnotateSegmentation", "T2I Segmentation", image, resolution, weights)
        )


def draw_depth(job: AnnotationJob, offer: WeightsChoice | None = None, gamma: float = 0.0) -> io.NodeOutput:
    """Estimate depth and normalise it as the adapters were trained: near is white.

    Args:
        job: The pictures.
        offer: What the entry may mean, if not all depth weights.
        gamma: Exponent of the result; 0 for that of the network's kind.
    """

    def estimate(held: TransformersModule, images: Tensor) -> Tensor:
        input_is = held.model.gives
        mode = "zoe" if input_is == "depth" else "midas"
        return normalize_depth(estimate_depth(held.loaded, images), mode, input_is, gamma)

    return job.run(DEPTH, estimate, offer=offer)


def draw_segmentation(job: AnnotationJob) -> io.NodeOutput:
    """Segment pictures, in the adapter's own colours."""
    return job.run(SEGMENTATION, lambda held, images: paint(segment(held.loaded, images)), mode="nearest")
