"""Annotator settings that reproduce the training images of the published adapters, by condition and family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from comfy_api.latest import io
from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...annotators.canny import canny
from ...annotators.catalogue import PUBLISHED, published_as
from ...annotators.errors import AnnotatorError
from ...annotators.gray import gray
from ...annotators.palette import palette
from .. import host
from .lines import draw_lineart, draw_lines
from .network_annotator import SKETCH, AnnotationJob
from .picture_size import likely_palette
from .pictures import annotate
from .poses import draw_pose
from .scenes import draw_depth, draw_segmentation
from .weight_files import AUTO, WeightsChoice

WHERE = "T2I Annotate for Adapter"
# Builds the output from (job, swap_rb); swap_rb is true when the loader's colour order differs from training.
Make = Callable[[AnnotationJob, bool], io.NodeOutput]


@dataclass(frozen=True)
class Preset:
    """An annotator with the settings that a condition's published adapters were trained with.

    Attributes:
        condition: Name of the condition; see ``adapter_models.conditions``.
        family: The family that these settings are for; empty for every other family.
        means: Node and settings, for the user.
        resolution: Short side in pixels to annotate at; 0 for the image's own.
        make: Runs the annotator.
        likely: Guesses the size of the picture being made where the result depends on it and no input tells it: from
            an image (B, H, W, C) to a short side in pixels and a description for the user.
    """

    condition: str
    family: str
    means: str
    resolution: int
    make: Make
    likely: Callable[[Tensor], tuple[int, str]] | None = None


def weightless(function: Callable[[Tensor], Tensor]) -> Make:
    """Return a maker of condition images from a function that needs no weights."""
    return lambda job, _: annotate(job.where, job.image, function, job.resolution)


def _colors(job: AnnotationJob, _: bool) -> io.NodeOutput:
    return annotate(job.where, job.image, palette, job.resolution, "nearest")


def _depth(*keys: str, gamma: float = 0.0) -> Make:
    """Return a maker of depth images; ``auto`` takes the first of these networks whose file exists."""
    rows = tuple(row for key in keys for row in PUBLISHED if row.key == key)

    def make(job: AnnotationJob, _: bool) -> io.NodeOutput:
        if job.entry != AUTO:
            return draw_depth(job, gamma=gamma)
        offer = WeightsChoice(rows)
        name, _ = offer.find(AUTO, host.progress())
        if published_as(name) is not rows[0]:
            host.warn(f"The adapter was trained with {rows[0].file}; here is {name}.", host.running_node() or None)
        return draw_depth(job, offer, gamma)

    return make


def _pose(job: AnnotationJob, swap_rb: bool) -> io.NodeOutput:
    return draw_pose(job, "openpose bgr" if swap_rb else "openpose")


# A row without a family is the fallback for families that have no row of their own.
PRESETS = (
    Preset("sketch", "SDXL", "T2I Sketch, threshold 0.5", 1024, lambda job, _: draw_lines(job, SKETCH, 0.5)),
    Preset("sketch", "", "T2I Sketch, threshold 0.5", 0, lambda job, _: draw_lines(job, SKETCH, 0.5)),
    Preset("canny", "SDXL", "T2I Canny Edges, thresholds 100 and 200", 384, weightless(canny)),
    Preset("canny", "", "T2I Canny Edges, thresholds 100 and 200", 0, weightless(canny)),
    Preset("lineart", "SDXL", "T2I Lineart", 384, lambda job, _: draw_lineart(job)),
    Preset("lineart", "", "T2I Lineart", 0, lambda job, _: draw_lineart(job)),
    Preset("depth", "SDXL", "T2I Depth", 512, _depth("dpt-large", "dpt-hybrid", "depth-anything-v2-small")),
    Preset("depth", "", "T2I Depth", 0, _depth("dpt-hybrid", "dpt-large", "depth-anything-v2-small")),
    Preset("zoedepth", "SDXL", "T2I Depth, gamma 2.2", 512, _depth("zoedepth-nk", gamma=2.2)),
    # How the SD1.5 adapter's depth was normalised is not published; this is how its authors show such depth.
    Preset("zoedepth", "", "T2I Depth, gamma 1", 0, _depth("zoedepth-nk", gamma=1.0)),
    Preset("segmentation", "", "T2I Segmentation", 0, lambda job, _: draw_segmentation(job)),
    Preset("openpose", "SDXL", "T2I Detect Pose and Draw Pose", 512, _pose),
    Preset("openpose", "", "T2I Detect Pose and Draw Pose", 0, _pose),
    Preset("keypose", "", "T2I Detect Pose and Draw Pose", 0, lambda job, _: draw_pose(job, "keypose", 0.1)),
    Preset("color", "SDXL", "T2I Color Palette, cells of 64 pixels", 0, _colors, lambda one: likely_palette(one, 1024)),
    Preset("color", "", "T2I Color Palette, cells of 64 pixels", 0, _colors, likely_palette),
    Preset("recolor", "", "T2I Gray", 0, weightless(gray)),
)


def preset_for(adapter: T2IAdapter) -> Preset:
    """Return the preset for an adapter.

    Raises:
        AnnotatorError: Neither the adapter's file nor its name tells its condition, or no annotator makes it.
    """
    condition, family = adapter.info.condition, adapter.info.family or ""
    rows = [row for row in PRESETS if condition is not None and row.condition == condition.name]
    for wanted in (family, ""):
        if (row := next((row for row in rows if row.family == wanted), None)) is not None:
            return row
    known = "; ".join(dict.fromkeys(f"{row.condition}: {row.means.partition(',')[0]}" for row in PRESETS))
    found = f"an adapter for {condition.name}" if condition else "neither metadata nor a name that tells its condition"
    raise AnnotatorError(
        f"{WHERE}, {adapter.info.name}",
        found,
        f"one for {', '.join(dict.fromkeys(row.condition for row in PRESETS))}",
        f"Use the node that makes what it was trained on ({known}), or name the file after its condition.",
    )
