"""Estimate depth and segment images with networks from transformers."""

from __future__ import annotations

from comfy_api.latest import io

from ...annotators.networks.depth_networks import depth_picture
from ...annotators.networks.label_networks import segmentation_picture
from .network_annotator import AnnotationJob
from .weight_files import WeightsChoice


def draw_depth(job: AnnotationJob, offer: WeightsChoice | None = None, gamma: float = 0.0) -> io.NodeOutput:
    """Estimate depth and normalise it as for the adapters' training: near is white.

    Args:
        job: The images and the choice of weights.
        offer: Files that ``auto`` may take; all depth weights by default.
        gamma: Exponent of the result; 0 takes the default of the network's output (1 for disparity, 2.2 for depth).
    """
    return job.run("depth", lambda network, images: depth_picture(network, images, gamma), offer=offer)


def draw_segmentation(job: AnnotationJob) -> io.NodeOutput:
    """Segment images, in the colours that the segmentation adapters were trained with."""
    return job.run("segmentation", segmentation_picture, mode="nearest")
