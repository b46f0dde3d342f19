"""Compute results from scores: rows with intervals, and claims with differences and verdicts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...miniature import measure
from .. import report
from . import features
from .groups import Claim, Group
from .scores import FEATURES, Measure, kept, score
from .statistics import Estimate, Moments, corrected, frechet, mean_of, moments
from .variants import variant_named
from .workshop import Workshop

FILE = "results.json"
TRUTH = "other true scenes"
AGREES, DISAGREES, OPEN = "agrees", "disagrees", "can't tell"
Scores = Mapping[str, Tensor]


def collect(workshop: Workshop, groups: Sequence[Group], true_scenes: int = features.TRUE_SCENES) -> dict[str, Any]:
    """Measure every complete group, and write the results.

    Args:
        workshop: Folders of the pictures.
        groups: Groups with complete pictures.
        true_scenes: Number of true pictures that scale the features; half as many others are the reference.

    Returns:
        The file's content: lists, dictionaries and numbers.
    """
    space = features.feature_space(true_scenes)
    truth = moments(features.of_true_pictures(space, (features.REFERENCE, true_scenes // 2)))
    drawn = measure.held_out(workshop.scenes)
    known: dict[str, Scores] = {}
    for name in dict.fromkeys(name for group in groups for name in group.rows):
        variant = variant_named(name)
        known[name] = kept(workshop.folder(variant), lambda row=variant: score(workshop.pictures(row), drawn, space))
    floor = {FEATURES: space(measure.truth(measure.held_out(workshop.scenes, workshop.scenes)))}
    result = {
        "scenes": workshop.scenes,
        "training steps": workshop.steps,
        "made on": report.machine(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "Fréchet of " + TRUTH: asdict(_distance(floor, truth)),
        "groups": {group.name: _group(group, known, truth) for group in groups},
    }
    Path(workshop.work, FILE).write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    return result


def _group(group: Group, known: Mapping[str, Scores], truth: Moments) -> dict[str, Any]:
    rows = {
        name: {column.name: asdict(estimate(known[name], column, truth)) for column in group.columns}
        for name in group.rows
    }
    gains = [gain(claim, known, truth) for claim in group.claims]
    verdicts = [verdict(found, claim.margin) for found, claim in zip(gains, group.claims, strict=True)]
    claims = [{"gain": asdict(found), "verdict": said} for found, said in zip(gains, verdicts, strict=True)]
    return {"rows": rows, "claims": claims}


def estimate(scores: Scores, column: Measure, truth: Moments) -> Estimate:
    """Estimate one cell of a table."""
    return mean_of(scores[column.name]) if column.score else _distance(scores, truth)


def _distance(scores: Scores, truth: Moments) -> Estimate:
    points = scores[FEATURES]
    return corrected(lambda rows: frechet(moments(points[rows]), truth), len(points))


def gain(claim: Claim, known: Mapping[str, Scores], truth: Moments) -> Estimate:
    """Estimate how much better a claim's first variant is than its second, scene by scene; negative if worse."""
    first, second = known[claim.first], known[claim.second]
    sign, name = claim.measure.better, claim.measure.name
    if claim.measure.score:
        return mean_of(sign * (first[name] - second[name]))
    mine, other = first[FEATURES], second[FEATURES]

    def difference(rows: Tensor) -> Tensor:
        return sign * (frechet(moments(mine[rows]), truth) - frechet(moments(other[rows]), truth))

    return corrected(difference, len(mine))


def verdict(found: Estimate, margin: float) -> str:
    """Return the verdict of an interval on the claim that the gain is above -margin."""
    if found.low > -margin:
        return AGREES
    return DISAGREES if found.high < -margin else OPEN
