"""Annotators that work without weights: Canny edges, clean sketch, gray."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..annotators import sketch
from ..annotators.canny import canny
from ..annotators.gray import gray
from .annotation.pictures import ANNOTATOR_CATEGORY, annotate, image_input, image_output, resolution_input
from .inputs import checked
from .search_words import search_words


class T2IAnnotateCanny(io.ComfyNode):
    """Find Canny edges."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        side = {"min": 0.0, "max": 255.0, "step": 1.0}
        return io.Schema(
            node_id="T2IAnnotateCanny",
            display_name="T2I Canny Edges",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="Edges for canny adapters, pixel for pixel those that they were trained with (OpenCV's). "
            "Needs no weights.",
            search_aliases=search_words(
                "T2IAnnotateCanny", "canny", "edge detection", "edges", "outline", "preprocessor", "cv2"
            ),
            inputs=[
                image_input(),
                resolution_input(" Published use: 0 for SD1.x, 384 for SDXL."),
                io.Float.Input(
                    "low_threshold",
                    default=100.0,
                    tooltip="Weaker changes end an edge: lower makes edges longer. 0 to 255, default 100. Published "
                    "settings: 100 and 200 for canny adapters of SD1.x and SDXL; 40 and 110 for the CoAdapter.",
                    **side,
                ),
                io.Float.Input(
                    "high_threshold",
                    default=200.0,
                    tooltip="An edge begins where the change is stronger: lower finds more edges. 0 to 255, default "
                    "200. Published settings: see low_threshold.",
                    **side,
                ),
                io.Boolean.Input(
                    "l2_gradient",
                    default=False,
                    advanced=True,
                    tooltip="Measure changes by their true length: slanted edges count less than now. Off (default) "
                    "is as trained.",
                ),
            ],
            outputs=[image_output("White edges on black, one pixel wide.")],
        )

    @classmethod
    @checked
    def execute(
        cls,
        image: torch.Tensor,
        resolution: int = 0,
        low_threshold: float = 100.0,
        high_threshold: float = 200.0,
        l2_gradient: bool = False,
    ) -> io.NodeOutput:
        """Find the edges."""
        return annotate(
            "T2I Canny Edges", image, lambda part: canny(part, low_threshold, high_threshold, l2_gradient), resolution
        )


class T2ICleanSketch(io.ComfyNode):
    """Make a sketch of a drawing or photograph."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        part = {"min": 0.0, "max": 1.0, "step": 0.01}
        return io.Schema(
            node_id="T2ICleanSketch",
            display_name="T2I Clean Sketch",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="White lines on black, as sketch adapters need them, from a drawing, scan or photograph. Needs "
            "no weights.",
            search_aliases=search_words("T2ICleanSketch"),
            inputs=[
                image_input("The drawing or photograph. Batches are done at once; alpha is dropped."),
                resolution_input(),
                io.Combo.Input(
                    "mode",
                    options=[row.name for row in sketch.SKETCH_MODES],
                    default=sketch.SKETCH_MODES[0].name,
                    tooltip="threshold (default): a drawing on plain paper. line art: drawings on paper with shadows, "
                    "or soft lines. xdog: lines from a photograph.",
                ),
                io.Float.Input(
                    "threshold",
                    default=0.5,
                    **part,
                    tooltip="Lines from this strength on: lower shows fainter ones. 0 to 1, default 0.5; 0 leaves "
                    "them soft, but sketch adapters were trained with hard ones.",
                ),
                io.Combo.Input(
                    "invert",
                    options=list(sketch.INVERTS),
                    default=sketch.INVERTS[0],
                    tooltip="yes: dark lines on a bright ground become white on black. no: the lines are bright "
                    "already. auto (default) looks at the ground of each picture.",
                ),
                io.Int.Input(
                    "line_width",
                    default=0,
                    min=0,
                    max=64,
                    tooltip="Draw all lines this wide, in pixels. 0 (default) leaves them as they are, up to 64.",
                ),
            ],
            outputs=[image_output("White lines on black.")],
        )

    @classmethod
    @checked
    def execute(
        cls,
        image: torch.Tensor,
        resolution: int = 0,
        mode: str = sketch.SKETCH_MODES[0].name,
        threshold: float = 0.5,
        invert: str = sketch.INVERTS[0],
        line_width: int = 0,
    ) -> io.NodeOutput:
        """Find the lines."""
        return annotate(
            "T2I Clean Sketch",
            image,
            lambda part: sketch.clean_sketch(part, mode, threshold, invert, line_width),
            resolution,
        )


class T2IAnnotateGray(io.ComfyNode):
    """Convert images to gray."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateGray",
            display_name="T2I Gray",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="The picture in gray, for adapters that colour it anew. Needs no weights.",
            search_aliases=search_words(
                "T2IAnnotateGray",
                "gray",
                "grayscale",
                "grey",
                "luma",
                "luminance",
                "recolor",
                "colorize",
                "black and white",
            ),
            inputs=[
                image_input(),
                resolution_input(),
                io.Float.Input(
                    "gamma",
                    default=1.0,
                    min=0.05,
                    max=10.0,
                    step=0.05,
                    tooltip="Exponent: below 1 brightens, above 1 darkens. 1 (default) is as trained. 0.05 to 10.",
                ),
            ],
            outputs=[image_output("The picture in gray.")],
        )

    @classmethod
    @checked
    def execute(cls, image: torch.Tensor, resolution: int = 0, gamma: float = 1.0) -> io.NodeOutput:
        """Convert the image."""
        return annotate("T2I Gray", image, lambda part: gray(part, gamma), resolution)
