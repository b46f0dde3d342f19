"""Annotators that draw lines with a network: sketch, soft edge, lineart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..annotators.catalogue import PublishedFile, chosen_for_download, published_as, published_for
from ..annotators.errors import AnnotatorError
from ..annotators.networks.batches import as_picture, check_threshold
from ..annotators.networks.hed import hed_edges
from ..annotators.networks.lineart import lineart_lines
from ..annotators.networks.pidinet import pidinet_edges
from .annotation.network_annotator import LINEART, SKETCH, SOFT_EDGE, AnnotationJob, NetworkAnnotator, weights_input
from .annotation.network_cache import NETWORKS
from .annotation.pictures import CATEGORY, image_input, image_output, resolution_input
from .annotation.weight_files import AUTO
from .inputs import checked

LINES = "White lines on black, as large as the image."


class T2IAnnotateSketch(io.ComfyNode):
    """Draw a sketch with PiDiNet."""

    def __init__(self) -> None:
        super().__init__()
        self.keeper = NETWORKS.keeper("T2IAnnotateSketch")

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateSketch",
            display_name="T2I Sketch (PiDiNet)",
            category=CATEGORY,
            description="Draw the lines of a picture as a sketch, with PiDiNet: what the sketch adapters were "
            "trained on. For drawings use T2I Clean Sketch, which needs no weights.",
            search_aliases=["pidinet", "scribble", "image to sketch", "line drawing", "preprocessor", "sketch adapter"],
            inputs=[
                image_input(),
                resolution_input(),
                weights_input(SKETCH.weights),
                _threshold(
                    0.5, "0.5, the default, is as the SD1.x adapters were trained; the SDXL one was with 0.3 to 0.8"
                ),
            ],
            outputs=[image_output(LINES)],
        )

    @classmethod
    def validate_inputs(cls, weights: str | None) -> bool | str:
        """Accept every file that can be found, and downloads also when the file is there."""
        return SKETCH.weights.check(weights)

    @classmethod
    def fingerprint_inputs(cls, weights: str | None = None, **_: Any) -> object:
        """Draw again when the weights were replaced."""
        return SKETCH.weights.fingerprint(weights)

    @classmethod
    @checked
    def execute(cls, image: Tensor, resolution: int = 0, weights: str = AUTO, threshold: float = 0.5) -> io.NodeOutput:
        """Draw the sketch."""
        return draw_lines(
            AnnotationJob("T2IAnnotateSketch", "T2I Sketch", image, resolution, weights), SKETCH, threshold
        )


class T2IAnnotateSoftEdge(io.ComfyNode):
    """Draw outlines with HED."""

    def __init__(self) -> None:
        super().__init__()
        self.keeper = NETWORKS.keeper("T2IAnnotateSoftEdge")

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateSoftEdge",
            display_name="T2I Soft Edge (HED)",
            category=CATEGORY,
            description="Draw the outlines of a picture with HED, strong ones brighter. Its weights may be used "
            "commercially (Apache-2.0): a stand-in for the sketch of PiDiNet.",
            search_aliases=["hed", "softedge", "soft edge", "edge detection", "scribble", "preprocessor"],
            inputs=[
                image_input(),
                resolution_input(),
                weights_input(SOFT_EDGE.weights),
                _threshold(0.0, "0, the default, suits ControlNets; 0.5 suits sketch adapters"),
            ],
            outputs=[image_output(LINES)],
        )

    @classmethod
    def validate_inputs(cls, weights: str | None) -> bool | str:
        """Accept every file that can be found, and downloads also when the file is there."""
        return SOFT_EDGE.weights.check(weights)

    @classmethod
    def fingerprint_inputs(cls, weights: str | None = None, **_: Any) -> object:
        """Draw again when the weights were replaced."""
        return SOFT_EDGE.weights.fingerprint(weights)

    @classmethod
    @checked
    def execute(cls, image: Tensor, resolution: int = 0, weights: str = AUTO, threshold: float = 0.0) -> io.NodeOutput:
        """Draw the outlines."""
        return draw_lines(
            AnnotationJob("T2IAnnotateSoftEdge", "T2I Soft Edge", image, resolution, weights), SOFT_EDGE, threshold
        )


class T2IAnnotateLineart(io.ComfyNode):
    """Draw line art."""

    def __init__(self) -> None:
        super().__init__()
        self.keeper = NETWORKS.keeper("T2IAnnotateLineart")

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateLineart",
            display_name="T2I Lineart",
            category=CATEGORY,
            description="Draw a picture as soft line art (informative drawings): what the SDXL lineart adapter was "
            "trained on.",
            search_aliases=["lineart", "line art", "informative drawings", "sk_model", "ink", "preprocessor"],
            inputs=[
                image_input(),
                resolution_input(" The SDXL adapter was trained with 384."),
                weights_input(LINEART.weights),
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
    def validate_inputs(cls, weights: str | None) -> bool | str:
        """Accept every file that can be found, and downloads also when the file is there."""
        return LINEART.weights.check(weights)

    @classmethod
    def fingerprint_inputs(cls, weights: str | None = None, **_: Any) -> object:
        """Draw again when the weights were replaced."""
        return LINEART.weights.fingerprint(weights)

    @classmethod
    @checked
    def execute(cls, image: Tensor, resolution: int = 0, weights: str = AUTO, coarse: bool = False) -> io.NodeOutput:
        """Draw the line art."""
        return draw_lineart(AnnotationJob("T2IAnnotateLineart", "T2I Lineart", image, resolution, weights), coarse)


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


def _threshold(default: float, trained: str) -> io.Float.Input:
    return io.Float.Input(
        "threshold",
        default=default,
        min=0.0,
        max=0.99,
        step=0.01,
        tooltip=f"White where the network is surer of a line than this, else black; 0 keeps soft lines. {trained}.",
    )
