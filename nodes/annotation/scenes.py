"""Estimate depth and segment images with networks from transformers."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ...annotators.depth import normalize_depth
from ...annotators.networks.depth_networks import estimate_depth
from ...annotators.networks.label_networks import segment
from ...annotators.segmentation import paint
from .network_annotator import DEPTH, SEGMENTATION, AnnotationJob, TransformersModule
from .weight_files import WeightsChoice


def draw_depth(job: AnnotationJob, offer: WeightsChoice | None = None, gamma: float = 0.0) -> io.NodeOutput:
    """Estimate depth and normalise it as for the adapters' training: near is white.

    Args:
        job: The images and the choice of weights.
        offer: Files that ``auto`` may take; all depth weights by default.
        gamma: Exponent of the result; 0 takes the default of the network's output (1 for disparity, 2.2 for depth).
    """

    def estimate(module: TransformersModule, images: Tensor) -> Tensor:
        input_is = module.model.gives
        mode = "zoe" if input_is == "depth" else "midas"
        return normalize_depth(estimate_depth(module.loaded, images), mode, input_is, gamma)

    return job.run(DEPTH, estimate, offer=offer)


def draw_segmentation(job: AnnotationJob) -> io.NodeOutput:
    """Segment images, in the colours that the segmentation adapters were trained with."""
    return job.run(SEGMENTATION, lambda module, images: paint(segment(module.loaded, images)), mode="nearest")
