"""Draw lines with a network: sketches, soft edges and line art."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ...annotators.catalogue import PublishedFile, chosen_for_download, published_as, published_for
from ...annotators.errors import AnnotatorError
from ...annotators.networks.batches import as_picture, check_threshold
from ...annotators.table import networks_of
from .network_annotator import AnnotationJob, weights_choice


def draw_lines(job: AnnotationJob, annotator: str, threshold: float) -> io.NodeOutput:
    """Draw a sketch or outlines.

    Args:
        job: The images and the choice of weights.
        annotator: ``sketch`` or ``soft edge``.
        threshold: Lowest line score, 0 to below 1, that becomes white; 0 keeps soft lines.
    """
    check_threshold(job.where, threshold)
    edges = networks_of(annotator)[0].annotate
    # Threshold after resizing back, so that lines found at another resolution stay crisp.
    return job.run(
        annotator,
        lambda network, images: edges(network, images, 0.0),
        lambda soft: as_picture(soft[:, :1], threshold),
    )


def draw_lineart(job: AnnotationJob, coarse: bool = False) -> io.NodeOutput:
    """Draw line art.

    Args:
        job: The images and the choice of weights.
        coarse: Draw fewer, bolder lines, with the second published network.
    """
    wanted = lineart_file(coarse)
    _check_coarse(job.entry, wanted, coarse)
    return job.run(
        "lineart", networks_of("lineart")[0].annotate, offer=replace(weights_choice("lineart"), rows=(wanted,))
    )


def lineart_file(coarse: bool = False) -> PublishedFile:
    """Return the published network for fine or for coarse line art."""
    return published_for("lineart")[1 if coarse else 0]


def _check_coarse(weights: str, wanted: PublishedFile, coarse: bool) -> None:
    named = chosen_for_download(weights) or published_as(weights)
    if named is not None and named.annotator == "lineart" and named is not wanted:
        raise AnnotatorError(
            f"weights '{weights}'",
            f"{named.file} with coarse {'on' if coarse else 'off'}",
            wanted.file,
            "Choose auto in weights, or switch coarse.",
            says="These weights do not match the setting of coarse.",
        )
