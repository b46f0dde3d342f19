"""Annotator settings that reproduce the training images of the published adapters, by condition and family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...annotators.canny import canny
from ...annotators.catalogue import PublishedFile, published_as, published_for
from ...annotators.errors import AnnotatorError
from ...annotators.gray import gray
from ...annotators.network_rows import NetworkAnnotator, TrainedPreset
from ...annotators.palette import palette
from ...annotators.table import NETWORK_ANNOTATORS, network_named
from .. import host
from .lines import draw_lineart, draw_lines, lineart_file
from .network_annotator import AnnotationJob
from .picture_size import likely_palette
from .pictures import annotate
from .poses import THRESHOLD, draw_pose
from .scenes import draw_depth, draw_segmentation
from .weight_files import AUTO, WeightsChoice

ANNOTATE_FOR = "T2I Annotate for Adapter"
# Builds the output from (job, swap_rb); swap_rb is true when the loader's colour order differs from training.
Make = Callable[[AnnotationJob, bool], io.NodeOutput]


@dataclass(frozen=True)
class AnnotatorPreset:
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
    files: tuple[PublishedFile, ...] = ()


def weightless(function: Callable[[Tensor], Tensor]) -> Make:
    """Return a maker of condition images from a function that needs no weights."""
    return lambda job, _: annotate(job.where, job.image, function, job.resolution)


def _colors(job: AnnotationJob, _: bool) -> io.NodeOutput:
    return annotate(job.where, job.image, palette, job.resolution, "nearest")


def _sketch(_: NetworkAnnotator, preset: TrainedPreset, job: AnnotationJob, __: bool) -> io.NodeOutput:
    return draw_lines(job, "sketch", **preset.settings)


def _lineart(_: NetworkAnnotator, preset: TrainedPreset, job: AnnotationJob, __: bool) -> io.NodeOutput:
    return draw_lineart(job, **preset.settings)


def _depth(row: NetworkAnnotator, preset: TrainedPreset, job: AnnotationJob, _: bool) -> io.NodeOutput:
    """Draw depth; ``auto`` takes the preset's network or, where its file is missing, a stand-in."""
    if job.entry != AUTO:
        return draw_depth(job, **preset.settings)
    offer = WeightsChoice(_files(row, preset))
    name, _ = offer.find(AUTO, host.progress())
    if published_as(name) is not row.files[0]:
        host.warn(f"The adapter was trained with {row.files[0].file}; here is {name}.", host.running_node() or None)
    return draw_depth(job, offer, **preset.settings)


def _segmentation(_: NetworkAnnotator, preset: TrainedPreset, job: AnnotationJob, __: bool) -> io.NodeOutput:
    return draw_segmentation(job, **preset.settings)


def _pose(_: NetworkAnnotator, preset: TrainedPreset, job: AnnotationJob, swap_rb: bool) -> io.NodeOutput:
    style = preset.settings.get("style", "openpose bgr" if swap_rb else "openpose")
    return draw_pose(job, style, preset.settings.get("threshold", THRESHOLD))


# What runs the presets of each network annotator: the node's name for the user, and the node's function.
_RUNNERS: dict[str, tuple[str, Callable[..., io.NodeOutput]]] = {
    "sketch": ("T2I Sketch", _sketch),
    "lineart": ("T2I Lineart", _lineart),
    "depth": ("T2I Depth", _depth),
    "segmentation": ("T2I Segmentation", _segmentation),
    "pose": ("T2I Detect Pose and Draw Pose", _pose),
}


def _of_networks() -> Iterator[AnnotatorPreset]:
    """Yield the presets of the annotators with a network."""
    for row in NETWORK_ANNOTATORS:
        for preset in row.presets:
            name, run = _RUNNERS[row.annotator]
            means = ", ".join((name, *(_shown(setting, value) for setting, value in preset.settings.items())))
            make = partial(run, row, preset)
            yield AnnotatorPreset(
                preset.condition, preset.family, means, preset.resolution, make, files=_files(row, preset)
            )


def _files(row: NetworkAnnotator, preset: TrainedPreset) -> tuple[PublishedFile, ...]:
    """Return the files that a preset can use: all of its annotator's, unless its settings choose among them."""
    if row.annotator == "depth":
        return tuple(each.files[0] for each in (row, *(network_named(key) for key in preset.stand_ins)))
    if row.annotator == "lineart":
        return (lineart_file(**preset.settings),)
    return published_for(row.annotator)


def _shown(setting: str, value: Any) -> str:
    return f"{setting} {value:g}" if isinstance(value, float) else f"{setting} {value}"


# A row without a family is the fallback for families that have no row of their own.
ANNOTATOR_PRESETS = (
    *_of_networks(),
    AnnotatorPreset("canny", "SDXL", "T2I Canny Edges, thresholds 100 and 200", 384, weightless(canny)),
    AnnotatorPreset("canny", "", "T2I Canny Edges, thresholds 100 and 200", 0, weightless(canny)),
    AnnotatorPreset(
        "color", "SDXL", "T2I Color Palette, cells of 64 pixels", 0, _colors, lambda one: likely_palette(one, 1024)
    ),
    AnnotatorPreset("color", "", "T2I Color Palette, cells of 64 pixels", 0, _colors, likely_palette),
    AnnotatorPreset("recolor", "", "T2I Gray", 0, weightless(gray)),
)


def preset_for(adapter: T2IAdapter) -> AnnotatorPreset:
    """Return the preset for an adapter.

    Raises:
        AnnotatorError: Neither the adapter's file nor its name tells its condition, or no annotator makes it.
    """
    condition, family = adapter.info.condition, adapter.info.family or ""
    rows = [row for row in ANNOTATOR_PRESETS if condition is not None and row.condition == condition.name]
    for wanted in (family, ""):
        if (row := next((row for row in rows if row.family == wanted), None)) is not None:
            return row
    known = "; ".join(dict.fromkeys(f"{row.condition}: {row.means.partition(',')[0]}" for row in ANNOTATOR_PRESETS))
    found = f"an adapter for {condition.name}" if condition else "neither metadata nor a name that tells its condition"
    raise AnnotatorError(
        f"{ANNOTATE_FOR}, {adapter.info.name}",
        found,
        f"one for {', '.join(dict.fromkeys(row.condition for row in ANNOTATOR_PRESETS))}",
        f"Use the node that makes what it was trained on ({known}), or name the file after its condition.",
        says=f"No annotator makes the images of adapters for {condition.name}."
        if condition
        else "The adapter's file does not say which images it was trained on.",
    )
