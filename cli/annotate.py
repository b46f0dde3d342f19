"""Make condition images for pictures without one, with the nodes' annotators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from ..adapter_models.adapter import T2IAdapter
from ..annotators.sketch import clean_sketch
from ..nodes.annotation.lines import draw_lines
from ..nodes.annotation.network_annotator import AnnotationJob
from ..nodes.annotation.network_cache import LOADED_NETWORKS
from ..nodes.annotation.pictures import to_planes
from ..nodes.annotation.presets import ANNOTATOR_PRESETS, AnnotatorPreset, weightless
from ..nodes.annotation.weight_files import AUTO as FOUND
from ..training.errors import TrainingError
from .options import AUTO_ANNOTATOR

_OWNER = "train"
# Annotators besides those that the published adapters were trained with.
_MORE = (
    AnnotatorPreset("clean-sketch", "", "T2I Clean Sketch", 0, weightless(clean_sketch)),
    AnnotatorPreset(
        "soft-edge", "", "T2I Soft Edge, threshold 0.5", 0, lambda job, _: draw_lines(job, "soft edge", 0.5)
    ),
)


def annotator(name: str, file: Path | None, adapter: T2IAdapter) -> Callable[[Tensor], Tensor]:
    """Return a function that makes condition images; see :func:`run_preset`.

    Args:
        name: A condition, or a name of :data:`_MORE`; ``auto`` for the adapter's condition.
        file: The annotator's weights; None to look in models/annotators.
        adapter: The adapter to train.
    """
    return run_preset(preset_named(name, adapter), file)


def run_preset(preset: AnnotatorPreset | None, file: Path | None) -> Callable[[Tensor], Tensor]:
    """Return a function that makes condition images.

    Args:
        preset: The annotator and its settings; None where nobody knows.
        file: The annotator's weights; None to look in models/annotators.

    Returns:
        Picture (1, 3, H, W) in [0, 1] -> its condition image. Raises AnnotatorError if weights are missing, and
        TrainingError if no annotator is known for the condition.

    Raises:
        TrainingError: The file does not exist.
    """
    if file is not None and not file.is_file():
        raise TrainingError(
            "annotator_file",
            f"{file}, which is no file",
            "a file of weights",
            "Correct the path.",
            says=f"The annotator's weights {file} do not exist.",
        )
    # Networks live as long as somebody holds this.
    owner = LOADED_NETWORKS.owner(_OWNER)

    def annotate(picture: Tensor, _: object = owner) -> Tensor:
        if preset is None:
            raise TrainingError(
                "condition",
                "pictures without a condition map, and no condition with a known annotator",
                "a map for each picture, or an annotator",
                "Put maps beside the pictures (cat.cond.png), or give --condition or --annotator.",
                says="Some pictures have no condition map, and no annotator is chosen.",
            )
        image = picture.movedim(1, -1)
        job = AnnotationJob(_OWNER, preset.means, image, preset.resolution, FOUND if file is None else file.name, file)
        drawn: Tensor = to_planes(preset.make(job, False)[0])
        return drawn

    return annotate


def preset_named(name: str, adapter: T2IAdapter) -> AnnotatorPreset | None:
    """Return how pictures are annotated, as adapters of this family were trained; None where nobody knows."""
    info = adapter.info
    wanted = (info.condition.name if info.condition else "") if name == AUTO_ANNOTATOR else name
    return find_preset(wanted, info.family or "")


def find_preset(name: str, family: str) -> AnnotatorPreset | None:
    """Return the annotator of a condition, or one of :data:`_MORE`, for adapters of a family; None without one."""
    rows = [row for row in (*ANNOTATOR_PRESETS, *_MORE) if row.condition == name]
    return next((row for each in (family, "") for row in rows if row.family == each), None)
