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


def draw_lines(job: AnnotationJob, learned: NetworkAnnotator, threshold: float) -> io.NodeOutput:
    """Draw a sketch or outlines.

    Args:
        job: The pictures.
        learned: SKETCH or SOFT_EDGE.
        threshold: White where the network is surer of a line; 0 for soft lines.
    """
    check_threshold(job.where, threshold)
    edges = EDGES[learned.annotator]
    # The threshold comes last: so lines that were found at another resolution are as crisp as all others.
    return job.run(
        learned,
        lambda network, images: edges(network, images, 0.0),
        lambda soft: as_picture(soft[:, :1], threshold),
    )


EDGES = {SKETCH.annotator: pidinet_edges, SOFT_EDGE.annotator: hed_edges}


def draw_lineart(job: AnnotationJob, coarse: bool = False) -> io.NodeOutput:
    """Draw line art.

    Args:
        job: The pictures.
        coarse: Fewer, bolder lines.
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
