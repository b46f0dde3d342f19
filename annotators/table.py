"""All annotators, one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .canny import canny
from .gray import gray
from .palette import palette
from .sketch import clean_sketch


@dataclass(frozen=True)
class Annotator:
    """Something that makes condition images.

    Attributes:
        name: Its name, for the user.
        condition: The kind of condition that it makes, in the words of published files: canny, sketch, depth…
        node_id: The node that offers it.
        needs_weights: Whether it needs a file.
        annotate: Pictures (B, C, H, W) to condition images (B, 3, H, W), with the settings that the published adapters
            were trained with; None where it takes something else than pictures, or weights.
    """

    name: str
    condition: str
    node_id: str
    needs_weights: bool = False
    annotate: Callable[[Tensor], Tensor] | None = None


# In the order of preference for a condition: what the adapters were trained with comes first.
ANNOTATORS = (
    Annotator("Canny edges", "canny", "T2IAnnotateCanny", annotate=canny),
    Annotator("Sketch by PiDiNet", "sketch", "T2IAnnotateSketch", needs_weights=True),
    Annotator("Sketch from a drawing", "sketch", "T2ICleanSketch", annotate=clean_sketch),
    Annotator("Soft edges by HED", "sketch", "T2IAnnotateSoftEdge", needs_weights=True),
    Annotator("Line art", "lineart", "T2IAnnotateLineart", needs_weights=True),
    Annotator("Depth", "depth", "T2IAnnotateDepth", needs_weights=True),
    Annotator("Depth of another node", "depth", "T2INormalizeDepth"),
    Annotator("Depth, as ZoeDepth", "zoedepth", "T2IAnnotateDepth", needs_weights=True),
    Annotator("Depth of another node, as ZoeDepth", "zoedepth", "T2INormalizeDepth"),
    Annotator("Color palette", "color", "T2IAnnotateColor", annotate=palette),
    Annotator("Segmentation", "segmentation", "T2IAnnotateSegmentation", needs_weights=True),
    Annotator("Painted segmentation", "segmentation", "T2IPaintSegmentation"),
    Annotator("Pose of a picture", "openpose", "T2IDetectPose", needs_weights=True),
    Annotator("Pose of keypoints", "openpose", "T2IDrawPose"),
    Annotator("Pose of keypoints, as MMPose", "keypose", "T2IDrawPose"),
    Annotator("Gray", "recolor", "T2IAnnotateGray", annotate=gray),
)
