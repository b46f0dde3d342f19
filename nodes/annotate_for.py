"""Annotate for Adapter: the condition image that an adapter expects, made as its training did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..adapter_models.adapter import T2IAdapter
from ..annotators.canny import canny
from ..annotators.catalogue import PUBLISHED, published_as
from ..annotators.errors import AnnotatorError
from ..annotators.gray import gray
from ..annotators.palette import palette
from . import host
from .annotate_lines import draw_lineart, draw_lines
from .annotate_scenes import draw_depth, draw_segmentation
from .annotator_files import AUTO, Weights
from .detect_pose import draw_pose
from .inputs import checked
from .kept import NETWORKS
from .learned import SKETCH, Job, weights_input
from .pictures import CATEGORY, annotate, image_input, image_output, resolution_input
from .sockets import T2IAdapterSocket

NODE = "T2IAnnotateFor"
WHERE = "T2I Annotate for Adapter"
# Makes the output from the pictures and whether the adapter swaps red and blue the other way round than in training.
Make = Callable[[Job, bool], io.NodeOutput]


@dataclass(frozen=True)
class Preset:
    """How the published adapters of a condition were trained.

    Attributes:
        condition: Its name; see ``adapter_models.conditions``.
        family: The family, where others were trained otherwise, or nothing.
        means: What makes the picture, for the user.
        resolution: Short side at which it looked for things; 0 for the picture's own.
        make: Makes it.
    """

    condition: str
    family: str
    means: str
    resolution: int
    make: Make


def weightless(function: Callable[[Tensor], Tensor]) -> Make:
    """Return what makes condition images without weights."""
    return lambda job, _: annotate(job.where, job.image, function, job.resolution)


def _colors(job: Job, _: bool) -> io.NodeOutput:
    return annotate(job.where, job.image, palette, job.resolution, "nearest")


def _depth(*keys: str, gamma: float = 0.0) -> Make:
    """Return what estimates depth; ``auto`` takes the first of these networks that is there."""
    rows = tuple(row for key in keys for row in PUBLISHED if row.key == key)

    def make(job: Job, _: bool) -> io.NodeOutput:
        if job.entry != AUTO:
            return draw_depth(job, gamma=gamma)
        offer = Weights(rows)
        name, _ = offer.find(AUTO, host.progress())
        if published_as(name) is not rows[0]:
            host.warn(f"The adapter was trained with {rows[0].file}; here is {name}.", host.running_node() or None)
        return draw_depth(job, offer, gamma)

    return make


def _pose(job: Job, swapped: bool) -> io.NodeOutput:
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
    Preset("color", "", "T2I Color Palette, cells of 64 pixels", 0, _colors),
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
            ],
            outputs=[image_output("The condition image, as large as the image, for Apply T2I-Adapter.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, weights: str | None) -> bool | str:
        """Accept every file that can be found; auto depends on the adapter, which is known when the node runs."""
        return True if weights == AUTO else _offer().check(weights)

    @classmethod
    def fingerprint_inputs(cls, weights: str | None = None, **_: Any) -> object:
        """Annotate again when weights came or were replaced."""
        return _offer().fingerprints() if weights in (AUTO, None) else _offer().fingerprint(weights)

    @classmethod
    @checked
    def execute(cls, image: Tensor, adapter: T2IAdapter, resolution: int = 0, weights: str = AUTO) -> io.NodeOutput:
        """Pick the annotator and run it."""
        Job(NODE, WHERE, image, resolution).planes()  # bad pictures first
        preset = preset_for(adapter)
        job = Job(NODE, WHERE, image, resolution or preset.resolution, weights)
        at = f"at {job.resolution} pixels" if job.resolution else "at the image's size"
        told = f"{adapter.about.name} ({adapter.about.family or 'SD'} {preset.condition}): {preset.means}, {at}"
        host.tell(told, cls.hidden.unique_id if cls.hidden else None)
        # The loader swaps red and blue for adapters that were trained so; poses are drawn for what it does.
        return preset.make(job, adapter.about.bgr != adapter.bgr)


def _offer() -> Weights:
    return Weights(PUBLISHED, unknown=False)


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
