"""The results: every figure with its interval, differences, classes, and the worst pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...annotators.segmentation import LABELS
from .contenders import NO_ADAPTER, Contender
from .controls import FigureColumn, Parts
from .overlap import class_iou, mean_class_iou
from .statistics import Estimate, figure_of_sums, figures_of_sums

# Number of pictures on the sheet of the worst cases.
WORST = 6


@dataclass(frozen=True)
class Scored:
    """A row of the table with what its pictures add to the sums.

    Attributes:
        contender: The row.
        parts: For each input what its picture adds, by column.
        distances: FID and KID by name, without intervals.
    """

    contender: Contender
    parts: Sequence[Parts]
    distances: Mapping[str, float] = field(default_factory=dict)

    def sums(self, column: FigureColumn) -> Tensor:
        """Return what each picture adds to the sums of a column, (N, K)."""
        return torch.tensor([parts[column.name] for parts in self.parts], dtype=torch.float64)

    def figures(self, columns: Sequence[FigureColumn]) -> dict[str, Any]:
        """Return the figures by name: an estimate, or a number without an interval."""
        found = {column.name: asdict(figure_of_sums(column.figure, self.sums(column))) for column in columns}
        return {**found, **self.distances}


def collect_results(rows: Sequence[Scored], columns: Sequence[FigureColumn]) -> dict[str, Any]:
    """Return the figures of all rows.

    Args:
        rows: The rows.
        columns: The columns with intervals; the first one ranks pictures.

    Returns:
        JSON values: ``rows``, ``differences``, ``classes`` and ``worst``.
    """
    main = columns[0]
    ranked = next(row for row in rows if row.contender.adapter)
    segmented = main.figure is mean_class_iou
    return {
        "rows": {row.contender.label: row.figures(columns) for row in rows},
        "differences": _differences(rows, ranked, columns),
        "classes": _classes(rows, main) if segmented else {},
        "worst": worst_inputs(ranked, main),
    }


def _differences(rows: Sequence[Scored], first: Scored, columns: Sequence[FigureColumn]) -> dict[str, Any]:
    """Return how much the first adapter's figures are above those of each other row, picture by picture."""
    others = [row for row in rows if row is not first and (row.contender.adapter or row.contender.label == NO_ADAPTER)]
    return {
        row.contender.label: {
            column.name: asdict(difference(column, first.sums(column), row.sums(column))) for column in columns
        }
        for row in others
    }


def difference(column: FigureColumn, first: Tensor, second: Tensor) -> Estimate:
    """Estimate the difference of a column's figures of the same inputs, from what the pictures add, (N, K) each."""
    width = first.shape[1]

    def apart(sums: Tensor) -> Tensor:
        return column.figure(sums[:, :width]) - column.figure(sums[:, width:])

    return figure_of_sums(apart, torch.cat((first, second), dim=1))


def _classes(rows: Sequence[Scored], main: FigureColumn) -> dict[str, Any]:
    """Return the figures of each class that the maps ask for, by the class and by the row."""
    found = {row.contender.label: figures_of_sums(class_iou, row.sums(main)) for row in rows}
    asked = {name for figures in found.values() for name, one in zip(LABELS, figures, strict=True) if one.value >= 0}
    return {
        name: {label: asdict(figures[place]) for label, figures in found.items()}
        for place, name in enumerate(LABELS)
        if name in asked
    }


def worst_inputs(row: Scored, main: FigureColumn, count: int = WORST) -> list[int]:
    """Return the places of the inputs whose pictures have the worst figures, the worst first."""
    figures = main.figure(row.sums(main)) * main.better
    order = figures.nan_to_num(torch.inf).argsort(stable=True).tolist()
    return [place for place in order if not figures[place].isnan()][:count]
