"""The measures of how well pictures follow their maps, one row for each kind of condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .colours import palette_agreement
from .joints import pose_agreement
from .lines import depth_agreement, edge_agreement, gray_error
from .overlap import class_areas, labels_of, mean_class_iou

# What a picture adds to the sums of each measure, by the measure's name.
Parts = Mapping[str, list[float]]
# From the map (1, 3, H, W), the picture, and the annotator.
Score = Callable[[Tensor, Tensor, Callable[[Tensor], Tensor]], Parts]
# Increase it when a measure changes: older scores are then computed again.
MEASURES_VERSION = 1


def ratio(sums: Tensor) -> Tensor:
    """Return the quotients of sums (R, 2); (R,), NaN where the second is 0."""
    return torch.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], torch.nan)


@dataclass(frozen=True)
class FigureColumn:
    """A column of the table.

    Attributes:
        name: Its heading.
        better: 1 if more is better, -1 if less is.
        figure: Sums over pictures (R, K) -> figures (R,).
        digits: Digits behind the point.
    """

    name: str
    better: int = 1
    figure: Callable[[Tensor], Tensor] = ratio
    digits: int = 3


@dataclass(frozen=True)
class ControlMeasure:
    """How the pictures of some conditions are measured.

    Attributes:
        conditions: Names of the conditions.
        columns: Columns of the table; the first one ranks pictures.
        score: See :data:`Score`.
        explained: What the columns mean.
    """

    conditions: tuple[str, ...]
    columns: tuple[FigureColumn, ...]
    score: Score
    explained: str


def _on_maps(compare: Callable[[Tensor, Tensor], Parts]) -> Score:
    """Return a score that compares a map with that of the picture."""
    return lambda asked, picture, annotate: compare(asked, annotate(picture))


def _classes(asked: Tensor, found: Tensor) -> Parts:
    return {"mIoU": class_areas(labels_of(asked), labels_of(found)).tolist()}


CONTROL_MEASURES = (
    ControlMeasure(
        ("canny", "sketch", "lineart"),
        (FigureColumn("F1"), FigureColumn("precision"), FigureColumn("recall")),
        _on_maps(edge_agreement),
        "*F1*: agreement of the lines of map and picture with a tolerance of 1 pixel, mean over pictures. *Precision*: "
        "share of the picture's line pixels that are near lines of the map. *Recall*: share of the map's line pixels "
        "that are near lines of the picture.",
    ),
    ControlMeasure(
        ("segmentation",),
        (FigureColumn("mIoU", figure=mean_class_iou),),
        _on_maps(_classes),
        "*mIoU*: intersection over union of each class over all pictures, mean over the classes of the maps. Pixels "
        "without a label in the map don't count.",
    ),
    ControlMeasure(
        ("depth", "zoedepth"),
        (FigureColumn("RMSE", -1), FigureColumn("order")),
        _on_maps(depth_agreement),
        "*RMSE*: root mean square difference of the depth maps in [0, 1], mean over pictures. *Order*: share of random "
        "pairs of points of which the same one is nearer, among pairs that differ in the map.",
    ),
    ControlMeasure(
        ("openpose", "keypose"),
        (FigureColumn("PCK"), FigureColumn("OKS")),
        _on_maps(pose_agreement),
        "*PCK*: share of the map's joints with a joint of the picture within 0.1 of the bodies' longer side. *OKS*: "
        "object keypoint similarity with COCO's deviations, the area of the bodies' box in place of their own.",
    ),
    ControlMeasure(
        ("color",),
        (FigureColumn("Delta E", -1, digits=2), FigureColumn("palette L1", -1)),
        lambda asked, picture, _: palette_agreement(asked, picture),
        "*Delta E*: CIEDE2000 difference between the map's cells and the picture's, mean over cells and pictures. "
        "*Palette L1*: mean absolute difference of the cells' mean colours in [0, 1].",
    ),
    ControlMeasure(
        ("recolor",),
        (FigureColumn("gray RMSE", -1),),
        _on_maps(lambda asked, found: {"gray RMSE": gray_error(asked, found)}),
        "*Gray RMSE*: root mean square difference between the map and the picture in gray, mean over pictures.",
    ),
)


def control_measure_for(condition: str) -> ControlMeasure:
    """Return the row of a condition.

    Raises:
        KeyError: The condition is unknown.
    """
    return {name: row for row in CONTROL_MEASURES for name in row.conditions}[condition]
