"""Annotate for Adapter: the condition image that an adapter expects, made as its training did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.conditions import NAME
from ..annotators.canny import canny
from ..annotators.catalogue import PUBLISHED, published_as
from ..annotators.errors import AnnotatorError
from ..annotators.gray import gray
from ..annotators.palette import palette
from . import host
from .annotate_color import likely_palette
from .annotate_lines import draw_lineart, draw_lines
from .annotate_scenes import draw_depth, draw_segmentation
from .annotation.network_annotator import SKETCH, AnnotationJob, weights_input
from .annotation.network_cache import NETWORKS
from .annotation.picture_size import Size, fit_image, picture_size, size_inputs
from .annotation.pictures import CATEGORY, annotate, image_input, image_output, resolution_input
from .annotation.weight_files import AUTO, WeightsChoice
from .detect_pose import draw_pose
from .inputs import checked, name_error
from .sockets import T2IAdapterSocket

NODE = "T2IAnnotateFor"
WHERE = "T2I Annotate for Adapter"
# Makes the output from the pictures and whether the adapter swaps red and blue the other way round than in training.
Make = Callable[[AnnotationJob, bool], io.NodeOutput]


@dataclass(frozen=True)
class Preset:
    """How the published adapters of a condition were trained.

    Attributes:
        condition: Its name; see ``adapter_models.conditions``.
        family: The family, where others were trained otherwise, or nothing.
        means: What makes the picture, for the user.
        resolution: Short side at which it looked for things; 0 for the picture's own.
        make: Makes it.
        likely: Guesses from an image (B, H, W, C) at which short side, and for which picture, where no input tells
            that picture's size and the result depends on it.
    """

    condition: str
    family: str
    means: str
    resolution: int
    make: Make
    likely: Callable[[Tensor], tuple[int, str]] | None = None


def weightless(function: Callable[[Tensor], Tensor]) -> Make:
    """Return what makes condition images without weights."""
    return lambda job, _: annotate(job.where, job.image, function, job.resolution)


def _colors(job: AnnotationJob, _: bool) -> io.NodeOutput:
    return annotate(job.where, job.image, palette, job.resolution, "nearest")


def _depth(*keys: str, gamma: float = 0.0) -> Make:
    """Return what estimates depth; ``auto`` takes the first of these networks that is there."""
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


def _pose(job: AnnotationJob, swapped: bool) -> io.NodeOutput:
    return draw_pose(job, "openpose bgr" if swapped else "openpose")


# The first row of a condition and family counts; a row without a family is for all others.
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
    # Nobody published how the SD1.5 one was normalised; this is how its authors show such depth.
    Preset("zoedepth", "", "T2I Depth, gamma 1", 0, _depth("zoedepth-nk", gamma=1.0)),
    Preset("segmentation", "", "T2I Segmentation", 0, lambda job, _: draw_segmentation(job)),
    Preset("openpose", "SDXL", "T2I Detect Pose and Draw Pose", 512, _pose),
    Preset("openpose", "", "T2I Detect Pose and Draw Pose", 0, _pose),
    Preset("keypose", "", "T2I Detect Pose and Draw Pose", 0, lambda job, _: draw_pose(job, "keypose", 0.1)),
    Preset("color", "SDXL", "T2I Color Palette, cells of 64 pixels", 0, _colors, lambda one: likely_palette(one, 1024)),
    Preset("color", "", "T2I Color Palette, cells of 64 pixels", 0, _colors, likely_palette),
    Preset("recolor", "", "T2I Gray", 0, weightless(gray)),
)


class T2IAnnotateFor(io.ComfyNode):
    """Make the condition image that an adapter expects."""

    def __init__(self) -> None:
        super().__init__()
        self.keeper = NETWORKS.keeper(NODE)

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateFor",
            display_name="T2I Annotate for Adapter",
            category=CATEGORY,
            description="Make the condition image that a T2I-Adapter expects, as it was trained: the annotator is "
            "picked by what the adapter's file says, or by its published name. The node tells what it picked.",
            search_aliases=[
                "auto preprocessor",
                "aio preprocessor",
                "which annotator",
                "condition image",
                "hint image",
            ],
            inputs=[
                image_input("The picture to make a condition image of. Batches are done at once; alpha is dropped."),
                resolution_input(
                    " Here 0 is what the adapter was trained with: 384 for SDXL canny and lineart, 512 for SDXL depth "
                    "and pose, 1024 for SDXL sketch, else the picture's own."
                ),
                T2IAdapterSocket.Input("adapter", tooltip="From Load T2I-Adapter."),
                weights_input(_offer()),
                *size_inputs("the image is cropped to it first, and a palette has its cells there."),
            ],
            outputs=[
                image_output(
                    "The condition image, as large as the picture being made, or as the image, for Apply T2I-Adapter."
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, weights: str | None) -> bool | str:
        """Accept every file that can be found; auto depends on the adapter, which is known when the node runs."""
        return name_error("weights", weights) or (True if weights == AUTO else _offer().check(weights))

    @classmethod
    def fingerprint_inputs(cls, weights: str | None = None, **_: Any) -> object:
        """Annotate again when weights came or were replaced."""
        return _offer().fingerprints() if weights in (AUTO, None) else _offer().fingerprint(weights)

    @classmethod
    @checked
    def execute(
        cls,
        image: Tensor,
        adapter: T2IAdapter,
        resolution: int = 0,
        weights: str = AUTO,
        width: int = 0,
        height: int = 0,
        latent: Any = None,
    ) -> io.NodeOutput:
        """Pick the annotator and run it."""
        AnnotationJob(NODE, WHERE, image, resolution).planes()  # bad pictures first
        preset = preset_for(adapter)
        size = picture_size(WHERE, image, width, height, latent)
        side, at = _looked_at(preset, image, resolution, size)
        image = image if size is None else fit_image(WHERE, image, size)
        job = AnnotationJob(NODE, WHERE, image, side, weights)
        told = f"{adapter.about.name} ({adapter.about.family or 'SD'} {preset.condition}): {preset.means}, {at}"
        if adapter.about.condition_from == NAME:
            told = f"{told.removesuffix('.')}. The condition is taken from {NAME}."
        host.tell(told, cls.hidden.unique_id if cls.hidden else None)
        # The loader swaps red and blue for adapters that were trained so; poses are drawn for what it does.
        return preset.make(job, adapter.about.bgr != adapter.bgr)


def _looked_at(preset: Preset, image: Tensor, resolution: int, size: Size | None) -> tuple[int, str]:
    """Return the short side at which to look, 0 for the image's own, and what to tell the user of it."""
    side = resolution or preset.resolution
    if size is None and side == 0 and preset.likely is not None:
        side, made = preset.likely(image)
        return side, f"for {made}"
    if size is None:
        return side, f"at {side} pixels" if side else "at the image's size"
    return side, f"for a picture of {size[1]}×{size[0]} pixels" + (f", at {side} pixels" if side else "")


def _offer() -> WeightsChoice:
    return WeightsChoice(PUBLISHED, unknown=False)


def preset_for(adapter: T2IAdapter) -> Preset:
    """Return how the adapter was trained.

    Raises:
        AnnotatorError: Neither its file nor its name tells, or no annotator makes what it expects.
    """
    condition, family = adapter.about.condition, adapter.about.family or ""
    rows = [row for row in PRESETS if condition is not None and row.condition == condition.name]
    for wanted in (family, ""):
        if (row := next((row for row in rows if row.family == wanted), None)) is not None:
            return row
    known = "; ".join(dict.fromkeys(f"{row.condition}: {row.means.partition(',')[0]}" for row in PRESETS))
    found = f"an adapter for {condition.name}" if condition else "neither metadata nor a name that tells its condition"
    raise AnnotatorError(
        f"{WHERE}, {adapter.about.name}",
        found,
        f"one for {', '.join(dict.fromkeys(row.condition for row in PRESETS))}",
        f"Use the node that makes what it was trained on ({known}), or name the file after its condition.",
    )
