"""How well generated landscapes follow their scene: numbers per picture, and the table of `miniature measure`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from ..host import measures
from .captions import captions
from .conditions import CELLS
from .judge import FILE, Judge, judged
from .light import HOURS, SEASONS
from .paint import Painting, paint
from .scene import HELD_OUT, HOUSE, NONE, Scenes, draw_scenes
from .studio import WEIGHTS, LandscapeStudio, exact_hint
from .truth import CLASSES, VISIBLE, Facts, class_iou, class_map, facts, horizon, order_right, ridge

WORK = Path(".miniature/landscapes")


@dataclass(frozen=True)
class Asked:
    """B scenes with their true pictures and what can be seen in them."""

    scenes: Scenes
    painted: Painting
    facts: Facts

    @classmethod
    def of(cls, scenes: Scenes, size: int = 128) -> Asked:
        """Paint scenes in parts, so that any number fits into memory."""
        painted = paint(scenes, size)
        return cls(scenes, painted, facts(scenes, painted.region))

    def in_other_light(self) -> Asked:
        """Return the same scenes two seasons and two hours later."""
        light = self.scenes.light
        season, hour = (light.season + 2) % len(SEASONS), (light.hour + 2) % len(HOURS)
        return Asked.of(draw_scenes(self.scenes.seed, season, hour), self.painted.region.shape[-1])


def held_out(count: int, start: int = 0) -> Asked:
    """Return scenes that no part was trained on."""
    return Asked.of(draw_scenes(torch.arange(HELD_OUT + start, HELD_OUT + start + count)))


def load_judge(file: Path) -> Judge:
    """Load the trained judge.

    Raises:
        FileNotFoundError: It is not trained yet.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"load_judge: got no {file}; expected it. Train it: train --world landscapes --only judge"
        )
    judge = Judge()
    judge.load_state_dict(load_file(file))
    return judge.eval()


def palette_l1(picture: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean absolute difference of the means of 8 × 8 blocks; pictures (B, 3, H, W) -> (B,)."""
    return measures("colours").palette_l1(picture, wanted, (CELLS, CELLS))


def psnr(picture: Tensor, wanted: Tensor) -> Tensor:
    """Return the peak signal to noise ratio in decibels; (B,)."""
    return -10.0 * (picture - wanted).square().flatten(1).mean(1).clamp(min=1e-10).log10()


def line_error(found: Tensor, begins: tuple[str, ...], line: Tensor) -> Tensor:
    """Return how far lines are from where they should be.

    Args:
        found: class map (B, H, W).
        begins: the classes that begin at the line; in each column the first of their pixels counts.
        line: where it should be in pixels (B, W), NaN where it doesn't count.

    Returns:
        (B,) median over the columns in pixels, NaN where no column counts; a missing class is as far as the picture.
    """
    wanted = torch.stack([found == CLASSES.index(name) for name in begins]).any(0)
    first = torch.where(wanted.any(1), wanted.float().argmax(1), 2 * found.shape[1]).float()
    return (first - line).abs().nanmedian(1).values


def named_there(found: Tensor, known: Facts) -> Tensor:
    """Return the share of the named kinds of things that a class map (B, H, W) has anywhere; (B,)."""
    share = functional.one_hot(found.flatten(1), len(CLASSES)).float().mean(1)
    house = (known.kind == HOUSE).any(1)
    tree = ((known.kind != HOUSE) & (known.kind != NONE)).any(1) | (known.forest > 0)
    named = {
        "house": house,
        "tree": tree,
        "mountain": known.mountains > 0,
        "water-other": known.water > 0,
        "boat": known.boat > 0,
        "person": known.person > 0,
        "road": known.road > 0,
        "clouds": known.clouds > 0,
    }
    there = torch.stack([share[:, CLASSES.index(name)] >= VISIBLE / 3 for name in named], dim=1)
    asked = torch.stack(list(named.values()), dim=1)
    return (there & asked).sum(1) / asked.sum(1).clamp(min=1)


def scores(picture: Tensor, asked: Asked, judge: Judge) -> dict[str, float]:
    """Return every measure of pictures (B, 3, 128, 128): means, and medians of the lines."""
    classes, season, hour = judged(judge, picture)
    region, scenes = asked.painted.region, asked.scenes
    land = ("mountain", "snow", "hill", "tree", "house", "grass")
    return {
        "class IoU": float(class_iou(classes, class_map(region)).mean()),
        "order": float(order_right(classes, region).mean()),
        "ridge px": float(line_error(classes, land, ridge(scenes, region)).nanmedian()),
        "horizon px": float(line_error(classes, ("water-other",), horizon(scenes, region)).nanmedian()),
        "palette L1": float(palette_l1(picture, asked.painted.picture).mean()),
        "named": float(named_there(classes, asked.facts).mean()),
        "season": float((season == scenes.light.season).float().mean()),
        "hour": float((hour == scenes.light.hour).float().mean()),
        "PSNR": float(psnr(picture, asked.painted.picture).mean()),
    }


def rows(studio: LandscapeStudio, asked: Asked) -> Iterator[tuple[str, Tensor, Asked]]:
    """Make every row of the table: its name, the pictures, and what they should show."""
    true = asked.painted.picture
    yield "the scenes themselves", true, asked
    yield "VAE round trip (the ceiling)", studio.round_trip(true.movedim(1, 3)).movedim(3, 1), asked
    texts = captions(asked.facts)
    yield "no adapter", studio.draw(texts), asked
    for kind in ("sketch", "seg", "depth", "color"):
        yield kind, studio.draw(texts, {kind: exact_hint(kind, asked.painted)}), asked
    other = asked.in_other_light()
    hint = {"sketch": exact_hint("sketch", asked.painted)}
    yield "sketch, another season and hour", studio.draw(captions(other.facts), hint), other


def run(options: argparse.Namespace) -> None:
    """Print the table of measures for a folder of weights."""
    studio = LandscapeStudio(options.comfyui, options.weights or WEIGHTS)
    judge = load_judge((options.work or WORK) / FILE)
    asked = held_out(options.scenes)
    for number, (name, picture, wanted) in enumerate(rows(studio, asked)):
        found = scores(picture, wanted, judge)
        if number == 0:
            print("| | " + " | ".join(found) + " |\n|---" + "|---" * len(found) + "|")
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in found.values()) + " |", flush=True)
