"""Write docs/fidelity.md: the tables, and conclusions that follow from the numbers by fixed rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..report import Table
from .groups import GROUPS, Claim, Group
from .recipes import RECIPES
from .results import AGREES, DISAGREES, OPEN, TRUTH
from .scores import Measure

INTRODUCTION = """# What the paper claims, measured on the miniature

`python3 run.py fidelity` trains what is missing, draws what is missing, and writes this page. The
[miniature](../dev/miniature/README.md) draws {scenes} held-out scenes, each with its prompt and its exact condition, in
the real ComfyUI with this pack's nodes: fixed seeds, 20 steps of dpmpp_2m, CFG 3. Its UNet has 7 million weights (the
paper's has 860 million) and draws only coloured shapes. Effects that it does not show may still exist in large models.

- *Silhouette IoU*: overlap of the picture's foreground with the scene's shapes. *Shape IoU*: the same for each shape in
  its own colour. *Palette L1*: mean difference of 8×8 block means; less is better.
- *Colours present*: share of the scene's colours that are in the picture. *Bound*: share of its shapes that have their
  own colour, anywhere in the picture.
- *Fréchet*: squared Fréchet distance to 1024 true scenes of other seeds; less is better. The feature space is that of
  a small convolutional network with random weights of a fixed seed, in its 16 principal directions among true pictures,
  each scaled to deviation 1. It responds to colours, edges and corners, not to positions. The bias of small samples is
  subtracted (bootstrap), so a value can be slightly below 0; {scenes} other true scenes get {floor}.
- In brackets: 95 % intervals by bootstrap over the scenes. Differences are taken scene by scene. *{agrees}*: the
  whole interval is on the claim's side; *{disagrees}*: on the other side; *{open}*: it contains 0 (or the margin of a
  claim of "as good"). The intervals reflect the choice of scenes, not the seed of training.

{made}
"""


def write(result: Mapping[str, Any]) -> str:
    """Return the page for the available results."""
    groups = [group for group in GROUPS if group.name in result["groups"]]
    introduction = INTRODUCTION.format(
        scenes=result["scenes"],
        floor=cell(result["Fréchet of " + TRUTH]),
        agrees=AGREES,
        disagrees=DISAGREES,
        open=OPEN,
        made=result["made on"],
    )
    parts = [introduction, _summary(groups, result)]
    parts += [_section(group, result["groups"][group.name]) for group in groups]
    parts.append(_training(result["training steps"]))
    return "\n".join(parts)


def cell(found: Mapping[str, float]) -> str:
    """Format an estimate: 0.812 [0.790, 0.833]."""
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _summary(groups: list[Group], result: Mapping[str, Any]) -> str:
    told = [
        (claim, found)
        for group in groups
        for claim, found in zip(group.claims, result["groups"][group.name]["claims"], strict=True)
    ]
    counts = {said: sum(found["verdict"] == said for _, found in told) for said in (AGREES, DISAGREES, OPEN)}
    lines = [
        "## In short\n",
        f"Of {len(told)} claims the miniature agrees with {counts[AGREES]}, disagrees with {counts[DISAGREES]}, and "
        f"can't tell in {counts[OPEN]}.\n",
    ]
    for said, heading in ((DISAGREES, "It disagrees:"), (OPEN, "It can't tell:")):
        chosen = [_sentence(claim, found) for claim, found in told if found["verdict"] == said]
        lines += [f"{heading}\n", *chosen, ""] if chosen else []
    return "\n".join(lines)


def _sentence(claim: Claim, found: Mapping[str, Any]) -> str:
    return f"- “{claim.text}”: {claim.measure.name} {_sides(claim)}, gain {cell(found['gain'])}."


def _sides(claim: Claim) -> str:
    return f"of *{claim.first}* against *{claim.second}*"


def _section(group: Group, found: Mapping[str, Any]) -> str:
    head = ("", *(_heading(column) for column in group.columns))
    rows = Table(head)
    for name in group.rows:
        rows.add(name, *(cell(found["rows"][name][column.name]) for column in group.columns))
    claims = Table(("claim", "measure", "gain", "margin", "the miniature"))
    for claim, told in zip(group.claims, found["claims"], strict=True):
        text = f"{claim.text} ({claim.first} / {claim.second})"
        margin = f"{claim.margin:g}" if claim.margin else ""
        claims.add(text, claim.measure.name, cell(told["gain"]), margin, told["verdict"])
    parts = [
        f"## {group.title}",
        f"The paper: {group.paper}",
        group.note,
        f"![{group.title}](fidelity/{group.name}.jpg)",
    ]
    parts += [rows.markdown(), claims.markdown()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(column: Measure) -> str:
    return column.name + (" ↓" if column.better < 0 else "")


def _training(steps: int) -> str:
    head = ("adapter", "condition", "size", "timesteps", "features in", "steps", "batch", "rate", "average", "seed")
    table = Table(head)
    for row in RECIPES:
        settings = (steps, row.batch, row.rate, row.ema, row.seed)
        table.add(row.name, row.kind, row.size, row.timesteps, row.place.name, *settings)
    return (
        "## How the compared adapters were trained\n\nBy Create T2I-Adapter and Train T2I-Adapter, on "
        f"{RECIPES[0].lessons(steps)[1]} scenes, {RECIPES[0].prompt_dropout:.0%} of the prompts empty. The "
        f"adapters *sketch*, *color* and *seg* are the miniature's own, trained for longer.\n\n{table.markdown()}\n"
    )
