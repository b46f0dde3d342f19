"""Depth and segmentation annotators, with networks from transformers."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from .annotation.network_annotator import AnnotationJob
from .annotation.network_node import NetworkNode
from .annotation.pictures import ANNOTATOR_CATEGORY, image_output
from .annotation.scenes import draw_depth, draw_segmentation
from .annotation.weight_files import AUTO
from .inputs import checked
from .search_words import search_words


class T2IAnnotateDepth(NetworkNode, io.ComfyNode):
    """Estimate depth."""

    annotator = "depth"

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateDepth",
            display_name="T2I Depth",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="Estimate the depth of a picture, near is white: what the depth and zoedepth adapters were "
            "trained on. Depth of any other node goes through T2I Normalize Depth instead.",
            search_aliases=search_words(
                "T2IAnnotateDepth",
                "midas",
                "dpt",
                "zoedepth",
                "depth anything",
                "depth map",
                "preprocessor",
                "depth adapter",
            ),
            inputs=[
                *cls.network_inputs(
                    " The SDXL adapters were trained with 512.",
                    " dpt-hybrid-midas is what the SD1.x depth adapters were trained with, dpt-large the SDXL one, "
                    "zoedepth-nyu-kitti the zoedepth adapters; depth-anything-v2-small is small and good.",
                ),
            ],
            outputs=[image_output("The depth, near is white, as large as the image.")],
        )

    @classmethod
    @checked
    def execute(cls, image: Tensor, resolution: int = 0, weights: str = AUTO) -> io.NodeOutput:
        """Estimate the depth."""
        return draw_depth(AnnotationJob("T2IAnnotateDepth", "T2I Depth", image, resolution, weights))


class T2IAnnotateSegmentation(NetworkNode, io.ComfyNode):
    """Segment an image into the classes of COCO-Stuff."""

    annotator = "segmentation"

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateSegmentation",
            display_name="T2I Segmentation",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="Find what is where in a picture, in the 182 classes and the very colours that the "
            "segmentation adapter was trained on. T2I Paint Segmentation changes the result by hand.",
            search_aliases=search_words(
                "T2IAnnotateSegmentation",
                "seg",
                "semantic segmentation",
                "coco stuff",
                "maskformer",
                "seg adapter",
                "preprocessor",
            ),
            inputs=[
                *cls.network_inputs(weights=" Their authors state no licence."),
            ],
            outputs=[image_output("One colour for each class, black where there is none, as large as the image.")],
        )

    @classmethod
    @checked
    def execute(cls, image: Tensor, resolution: int = 0, weights: str = AUTO) -> io.NodeOutput:
        """Segment the image."""
        return draw_segmentation(
            AnnotationJob("T2IAnnotateSegmentation", "T2I Segmentation", image, resolution, weights)
        )
