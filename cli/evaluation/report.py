"""The report as a page, with tables, settings and contact sheets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .controls import FigureColumn
from .quality import ENOUGH_FOR_FID, FID, KID

FIXED_SHEET, WORST_SHEET = "fixed.jpg", "worst.jpg"
# Marks columns where less is better. Written as a name: Windows reads source files in another encoding.
_DOWN = "\N{DOWNWARDS ARROW}"
_DISTANCES = (FigureColumn(FID, -1, digits=2), FigureColumn(KID, -1, digits=5))


def report_page(result: Mapping[str, Any], columns: Sequence[FigureColumn], explained: Sequence[str]) -> str:
    """Write the report.

    Args:
        result: The content of ``report.json``.
        columns: The columns with intervals.
        explained: Sentences on the columns.

    Returns:
        Markdown.
    """
    shown = [*columns, *(column for column in _DISTANCES if any(column.name in row for row in result["rows"].values()))]
    parts = [
        f"# {result['name']}",
        f"{result['samples']} held-out samples, condition {result['condition']}; {result['maps']}.",
        _table("", result["rows"], shown),
        _notes(result, explained),
    ]
    if result["differences"]:
        parts += [
            f"## {result['adapter']} against the others",
            "Figures of the adapter minus those of the row, of the same samples with the same seeds.",
            _table("", result["differences"], columns),
        ]
    if result["classes"]:
        rows = [FigureColumn(label) for label in result["rows"]]
        parts += ["## Classes", "Intersection over union of each class of the maps.",
                  _table("class", result["classes"], rows, arrows=False)]  # fmt: skip
    parts += [
        "## Pictures",
        f"The first samples:\n\n![The first samples]({FIXED_SHEET})",
        f"The samples with the worst {columns[0].name} of {result['adapter']}:\n\n![The worst samples]({WORST_SHEET})",
        "## Settings",
        _settings(result["settings"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(corner: str, rows: Mapping[str, Any], columns: Sequence[FigureColumn], *, arrows: bool = True) -> str:
    names = [f"{column.name}{f' {_DOWN}' if arrows and column.better < 0 else ''}" for column in columns]
    lines = [f"| {corner} | {' | '.join(names)} |", "|---" * (len(columns) + 1) + "|"]
    for label, figures in rows.items():
        cells = (_cell(figures.get(column.name), column.digits) for column in columns)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(figure: Any, digits: int) -> str:
    if figure is None:
        return "–"
    if not isinstance(figure, Mapping):
        return f"{figure:.{digits}f}"
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    # JSON has no NaN: undefined figures are null there.
    if value is None or math.isnan(value):
        return "–"
    if low is None or math.isnan(low):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _notes(result: Mapping[str, Any], explained: Sequence[str]) -> str:
    lines = [
        *explained,
        f"In brackets: 95 % intervals by bootstrap over the samples. {_DOWN}: less is better.",
        "The real pictures are the ceiling; through the VAE they show what it loses.",
    ]
    if any(FID in row for row in result["rows"].values()):
        few = (
            f" Fewer than {ENOUGH_FOR_FID} pictures make FID unreliable." if result["samples"] < ENOUGH_FOR_FID else ""
        )
        lines.append(f"*FID*, *KID*: distances to the real pictures by clean-fid, without intervals.{few}")
    lines += result["unmeasured"]
    if result["left_out"]:
        lines.append(f"{len(result['left_out'])} samples or files were left out; `report.json` names them.")
    return "\n".join(f"- {line}" for line in lines)


def _settings(settings: Mapping[str, Any]) -> str:
    lines = [f"| {name} | {_plain(value)} |" for name, value in settings.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _plain(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
