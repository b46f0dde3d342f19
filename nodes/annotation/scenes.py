"""Estimate depth and segment pictures with the networks of transformers."""

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
