"""Make condition images for pictures without one, with the nodes' annotators."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..adapter_models.adapter import T2IAdapter
from ..annotators.catalogue import megabytes, published_for
from ..annotators.errors import AnnotatorError
from ..annotators.sketch import clean_sketch
from ..nodes import host
from ..nodes.annotation.lines import draw_lines
from ..nodes.annotation.network_annotator import AnnotationJob
from ..nodes.annotation.network_cache import LOADED_NETWORKS
from ..nodes.annotation.pictures import to_planes
from ..nodes.annotation.presets import ANNOTATOR_PRESETS, AnnotatorPreset, weightless
from ..nodes.annotation.weight_files import AUTO as FOUND
from ..nodes.annotation.weight_files import WeightsChoice
from ..training.distributed import ALONE, Processes
from ..training.errors import TrainingError
from ..training.weight_digests import WeightDigests
from .options import AUTO_ANNOTATOR

_log = logging.getLogger(__name__)
# Value of --annotator-file that fetches missing weights.
FETCH = "download"
_OWNER = "train"
# Annotators besides those that the published adapters were trained with.
_MORE = (
    AnnotatorPreset("clean-sketch", "", "T2I Clean Sketch", 0, weightless(clean_sketch)),
    AnnotatorPreset(
        "soft-edge",
        "",
        "T2I Soft Edge, threshold 0.5",
        0,
        lambda job, _: draw_lines(job, "soft edge", 0.5),
        files=published_for("soft edge"),
    ),
)


@dataclass(frozen=True)
class CommandAnnotator:
    """Makes condition images.

    Attributes:
        preset: The annotator and its settings.
        file: The weights that the user named; None to look in models/annotators.
        weights: The weights in use; None if the annotator needs none.
        owner: Keeps the network loaded as long as this lives.
    """

    preset: AnnotatorPreset
    file: Path | None
    weights: Path | None
    owner: object = field(default_factory=lambda: LOADED_NETWORKS.owner(_OWNER))

    def __call__(self, pictures: Tensor) -> Tensor:
        """Annotate pictures (B, 3, H, W) in [0, 1]; returns their condition images, alike."""
        entry = FOUND if self.file is None else self.file.name
        image = pictures.movedim(1, -1)
        job = AnnotationJob(_OWNER, self.preset.means, image, self.preset.resolution, entry, self.file)
        drawn: Tensor = to_planes(self.preset.make(job, False)[0])
        return drawn

    def facts(self, digests: WeightDigests) -> list[Any]:
        """Return JSON values that determine the condition images."""
        weights = None if self.weights is None else digests.whole(self.weights)
        return [self.preset.condition, self.preset.means, self.preset.resolution, weights]


def annotator(
    name: str, file: Path | None, adapter: T2IAdapter, processes: Processes, *, needed: bool
) -> CommandAnnotator | None:
    """Return what makes condition images; its weights are found, or downloaded if the user asks for it.

    Args:
        name: A condition, or a name of :data:`_MORE`; ``auto`` for the adapter's condition.
        file: The annotator's weights; None to look in models/annotators; ``download`` to fetch missing ones.
        adapter: The adapter to train.
        processes: The processes that train together; the first one downloads.
        needed: Whether there are pictures without a map.

    Returns:
        The annotator; None if it is not needed.

    Raises:
        TrainingError: The file does not exist, weights are missing, or no annotator is known for the condition.
        AnnotatorError: The download failed.
    """
    _check_file(file)
    return run_preset(preset_named(name, adapter), file, processes) if needed else None


def run_preset(preset: AnnotatorPreset | None, file: Path | None, processes: Processes = ALONE) -> CommandAnnotator:
    """Return what makes condition images; see :func:`annotator`.

    Args:
        preset: The annotator and its settings; None where nobody knows.
        file: Its weights, as for :func:`annotator`.
        processes: The processes that work together.
    """
    fetch = _check_file(file)
    if preset is None:
        raise TrainingError(
            "condition",
            "pictures without a condition map, and no condition with a known annotator",
            "a map for each picture, or an annotator",
            "Put maps beside the pictures (cat.cond.png), or give --condition or --annotator.",
            says="Some pictures have no condition map, and no annotator is chosen.",
        )
    if not preset.files:
        return CommandAnnotator(preset, None, None)
    if file is not None and not fetch:
        return CommandAnnotator(preset, file, file)
    if fetch and processes.first:
        WeightsChoice(preset.files).find(preset.files[0].entry, _download_progress)
    processes.wait()
    return CommandAnnotator(preset, None, _weights_found(preset))


def _check_file(file: Path | None) -> bool:
    """Check that a file of weights exists; return whether it is to be fetched instead."""
    if file is None or file.is_file():
        return False
    if str(file) == FETCH:
        return True
    raise TrainingError(
        "annotator_file",
        f"{file}, which is no file",
        f"a file of weights, or {FETCH}",
        "Correct the path.",
        says=f"The annotator's weights {file} do not exist.",
    )


def _weights_found(preset: AnnotatorPreset) -> Path:
    """Return the weights that the annotator takes by itself."""
    try:
        path: Path = WeightsChoice(preset.files).find(FOUND, _download_progress)[1]
        return path
    except AnnotatorError as error:
        best = preset.files[0]
        folder = host.annotator_folders()[0]
        raise TrainingError(
            "annotator_file",
            f"no {' or '.join(row.file for row in preset.files)}",
            f"the annotator's weights in {folder}, or where another pack keeps them",
            f"Give --annotator-file {FETCH} to fetch {best.file} ({megabytes(best.size)}, licence: {best.licence}), "
            f"or put the file from {best.addresses[0]} into that folder; or put maps beside the pictures.",
            says=f"Some pictures have no condition map, and the weights of the annotator '{preset.condition}' are not "
            "on this computer.",
        ) from error


def _download_progress(done: int, total: int) -> None:
    # Every 64 MB: a line for each megabyte would bury everything else.
    if done == total or done % (64 << 20) < 1 << 20:
        _log.info("Downloaded %s of %s.", megabytes(done), megabytes(total))


def preset_named(name: str, adapter: T2IAdapter) -> AnnotatorPreset | None:
    """Return how pictures are annotated, as adapters of this family were trained; None where nobody knows."""
    info = adapter.info
    wanted = (info.condition.name if info.condition else "") if name == AUTO_ANNOTATOR else name
    return find_preset(wanted, info.family or "")


def find_preset(name: str, family: str) -> AnnotatorPreset | None:
    """Return the annotator of a condition, or one of :data:`_MORE`, for adapters of a family; None without one."""
    rows = [row for row in (*ANNOTATOR_PRESETS, *_MORE) if row.condition == name]
    return next((row for each in (family, "") for row in rows if row.family == each), None)
