"""Draw lines with a network: sketches, soft edges and line art."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ...annotators.catalogue import PublishedFile, chosen_for_download, published_as, published_for
from ...annotators.errors import AnnotatorError
from ...annotators.networks.batches import as_picture, check_threshold
from ...annotators.networks.hed import hed_edges
from ...annotators.networks.lineart import lineart_lines
from ...annotators.networks.pidinet import pidinet_edges
from .network_annotator import LINEART, SKETCH, SOFT_EDGE, AnnotationJob, NetworkAnnotator


def draw_lines(job: AnnotationJob, annotator: NetworkAnnotator, threshold: float) -> io.NodeOutput:
    """Draw a sketch or outlines.

    Args:
        job: The images and the choice of weights.
        annotator: SKETCH or SOFT_EDGE.
        threshold: Lowest line score, 0 to below 1, that becomes white; 0 keeps soft lines.
    """
    check_threshold(job.where, threshold)
    edges = EDGES[annotator.name]
    # Threshold after resizing back, so that lines found at another resolution stay crisp.
    return job.run(
        annotator,
        lambda network, images: edges(network, images, 0.0),
        lambda soft: as_picture(soft[:, :1], threshold),
    )


EDGES = {SKETCH.name: pidinet_edges, SOFT_EDGE.name: hed_edges}


def draw_lineart(job: AnnotationJob, coarse: bool = False) -> io.NodeOutput:
    """Draw line art.

    Args:
        job: The images and the choice of weights.
        coarse: Draw fewer, bolder lines, with the second published network.
    """
    wanted = published_for("lineart")[1 if coarse else 0]
    _check_coarse(job.entry, wanted, coarse)
    return job.run(LINEART, lineart_lines, offer=replace(LINEART.weights, rows=(wanted,)))


def _check_coarse(weights: str, wanted: PublishedFile, coarse: bool) -> None:
    named = chosen_for_download(weights) or published_as(weights)
    if named is not None and named.annotator == "lineart" and named is not wanted:
        raise AnnotatorError(
            f"weights '{weights}'",
            f"{named.file} with coarse {'on' if coarse else 'off'}",
            wanted.file,
            "Choose auto in weights, or switch coarse.",
        )
