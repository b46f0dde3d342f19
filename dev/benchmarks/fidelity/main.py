"""Test the paper's claims on the miniature: `python3 run.py fidelity`."""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ...tasks import paths
from . import features, page, recipes, results, sheets
from .groups import GROUPS, Group
from .variants import SECOND, Variant, variant_named
from .workshop import Workshop, second_model

PHASES = ("train", "draw")


def main(arguments: list[str]) -> int:
    """Train and draw what is missing, and write the page with every complete group."""
    asked = _parser().parse_args(arguments)
    workshop = Workshop(asked.work.absolute(), asked.scenes, asked.train_steps)
    wanted = variants_of([group for group in GROUPS if not asked.only or group.name in asked.only])
    workshop.start()
    logging.getLogger().setLevel(logging.WARNING)
    if asked.phase:
        make(workshop, wanted, asked.phase, *map(int, asked.share.split("/")))
        return 0
    if any(variant.model == SECOND for variant in wanted):
        second_model(workshop.work)
    for phase in PHASES:
        if asked.workers == 1:
            make(workshop, wanted, phase)
        else:
            make_together(arguments, phase, asked.workers)
    publish(workshop, asked.out, asked.true_scenes)
    return 0


def variants_of(groups: Sequence[Group]) -> list[Variant]:
    """Return the variants of some groups, each once."""
    return [variant_named(name) for name in dict.fromkeys(name for group in groups for name in group.rows)]


def make(workshop: Workshop, wanted: Sequence[Variant], phase: str, share: int = 0, shares: int = 1) -> None:
    """Train or draw a share of what is missing.

    Args:
        workshop: Folders of the results.
        wanted: Variants.
        phase: One of PHASES.
        share: Index of the share, from 0.
        shares: Number of shares.
    """
    if phase == "train":
        used = {use.adapter for variant in wanted for use in variant.uses}
        for recipe in [row for row in recipes.RECIPES if row.name in used][share::shares]:
            print(f"adapter {recipe.name}", flush=True)
            workshop.train(recipe)
        return
    for number, variant in list(enumerate(wanted, 1))[share::shares]:
        print(f"{number}/{len(wanted)} {variant.name}", flush=True)
        workshop.draw(variant)


def make_together(arguments: Sequence[str], phase: str, workers: int) -> None:
    """Distribute a phase over processes.

    Raises:
        CalledProcessError: One of them failed.
    """
    launch = [sys.executable, str(paths.TASKS / "launch.py"), f"dev.benchmarks.{Path(__file__).parent.name}.main"]
    commands = [[*launch, *arguments, "--phase", phase, "--share", f"{share}/{workers}"] for share in range(workers)]
    running = [subprocess.Popen(command) for command in commands]
    for command, process in zip(commands, running, strict=True):
        if process.wait() != 0:
            raise subprocess.CalledProcessError(process.returncode, command)


def publish(workshop: Workshop, out: Path, true_scenes: int) -> None:
    """Measure the groups with complete pictures, and write the page and the sheets."""
    complete = [group for group in GROUPS if all(map(workshop.complete, variants_of([group])))]
    result = results.collect(workshop, complete, true_scenes)
    for group in complete:
        print(sheets.write(workshop, group, out / "fidelity"), flush=True)
    out.joinpath("fidelity.md").write_text(page.write(result), encoding="utf-8")
    print(out / "fidelity.md", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fidelity", description=__doc__)
    names = [group.name for group in GROUPS]
    parser.add_argument("--only", action="append", choices=names, help="draw this group's pictures; can be repeated")
    parser.add_argument("--scenes", type=int, default=128, help="held-out scenes per variant (default: 128)")
    parser.add_argument(
        "--train-steps", type=int, default=recipes.STEPS, help="training steps of each compared adapter"
    )
    parser.add_argument("--work", type=Path, default=paths.STATE / "fidelity", help="folder of adapters and pictures")
    parser.add_argument("--out", type=Path, default=paths.ROOT / "docs", help="folder of the page (default: docs)")
    parser.add_argument("--true-scenes", type=int, default=features.TRUE_SCENES, help=argparse.SUPPRESS)  # tests: fewer
    parser.add_argument("--workers", type=int, default=1, help="processes that train and draw (default: 1)")
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    parser.add_argument("--share", default="0/1", help=argparse.SUPPRESS)
    return parser
