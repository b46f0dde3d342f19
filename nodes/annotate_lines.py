"""Line annotators with a network: sketch (PiDiNet), soft edge (HED) and lineart."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from .annotation.lines import draw_lineart, draw_lines
from .annotation.network_annotator import AnnotationJob
from .annotation.network_node import NetworkNode
from .annotation.pictures import ANNOTATOR_CATEGORY, image_output
from .annotation.weight_files import AUTO
from .inputs import checked
from .search_words import search_words

LINES = "White lines on black, as large as the image."


class T2IAnnotateSketch(NetworkNode, io.ComfyNode):
    """Draw a sketch with PiDiNet."""

    annotator = "sketch"

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateSketch",
            display_name="T2I Sketch (PiDiNet)",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="Draw the lines of a picture as a sketch, with PiDiNet: what the sketch adapters were "
            "trained on. For drawings use T2I Clean Sketch, which needs no weights.",
            search_aliases=search_words(
                "T2IAnnotateSketch",
                "pidinet",
                "scribble",
                "image to sketch",
                "line drawing",
                "preprocessor",
                "sketch adapter",
            ),
            inputs=[
                *cls.network_inputs(),
                _threshold(
                    0.5, "0.5, the default, is as the SD1.x adapters were trained; the SDXL one was with 0.3 to 0.8"
                ),
            ],
            outputs=[image_output(LINES)],
        )

    @classmethod
    @checked
    def execute(cls, image: Tensor, resolution: int = 0, weights: str = AUTO, threshold: float = 0.5) -> io.NodeOutput:
        """Draw the sketch."""
        return draw_lines(
            AnnotationJob("T2IAnnotateSketch", "T2I Sketch", image, resolution, weights), cls.annotator, threshold
        )


class T2IAnnotateSoftEdge(NetworkNode, io.ComfyNode):
    """Draw outlines with HED."""

    annotator = "soft edge"

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateSoftEdge",
            display_name="T2I Soft Edge (HED)",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="Draw the outlines of a picture with HED, strong ones brighter. Its weights may be used "
            "commercially (Apache-2.0): a stand-in for the sketch of PiDiNet.",
            search_aliases=search_words(
                "T2IAnnotateSoftEdge", "hed", "softedge", "soft edge", "edge detection", "scribble", "preprocessor"
            ),
            inputs=[
                *cls.network_inputs(),
                _threshold(0.0, "0, the default, suits ControlNets; 0.5 suits sketch adapters"),
            ],
            outputs=[image_output(LINES)],
        )

    @classmethod
    @checked
    def execute(cls, image: Tensor, resolution: int = 0, weights: str = AUTO, threshold: float = 0.0) -> io.NodeOutput:
        """Draw the outlines."""
        return draw_lines(
            AnnotationJob("T2IAnnotateSoftEdge", "T2I Soft Edge", image, resolution, weights), cls.annotator, threshold
        )


class T2IAnnotateLineart(NetworkNode, io.ComfyNode):
    """Draw line art."""

    annotator = "lineart"

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateLineart",
            display_name="T2I Lineart",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="Draw a picture as soft line art (informative drawings): what the SDXL lineart adapter was "
            "trained on.",
            search_aliases=search_words(
                "T2IAnnotateLineart", "lineart", "line art", "informative drawings", "sk_model", "ink", "preprocessor"
            ),
            inputs=[
                *cls.network_inputs(" The SDXL adapter was trained with 384."),
                io.Boolean.Input(
                    "coarse",
                    default=False,
                    tooltip="Fewer and bolder lines: auto then takes sk_model2.pth instead of sk_model.pth. Off by "
                    "default, as the adapter was trained.",
                ),
            ],
            outputs=[image_output(LINES)],
        )

    @classmethod
    @checked
    def execute(cls, image: Tensor, resolution: int = 0, weights: str = AUTO, coarse: bool = False) -> io.NodeOutput:
        """Draw the line art."""
        return draw_lineart(AnnotationJob("T2IAnnotateLineart", "T2I Lineart", image, resolution, weights), coarse)


def _threshold(default: float, trained: str) -> io.Float.Input:
    return io.Float.Input(
        "threshold",
        default=default,
        min=0.0,
        max=0.99,
        step=0.01,
        tooltip=f"White where the network is surer of a line than this, else black; 0 keeps soft lines. {trained}.",
    )
