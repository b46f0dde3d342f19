"""Cost per step of each kind of control relative to the bare model: masks, schedules, sides, areas and more."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

import torch

from . import models, report, step
from .accounting import Account, accounting
from .measure import Patience, interleave, ratios, summarise
from .options import Options
from .turns import SteppedRun

GOAL = 1.02
Make = Callable[[models.Job], models.Job]


def _apply(job: models.Job, number: int = 0, **values: Any) -> models.Job:
    """Apply a fresh adapter with its own image."""
    from ...nodes.apply import ApplyT2IAdapter

    image = models.picture(job.size, number)
    model = ApplyT2IAdapter.execute(job.model, models.our_adapter(job.scale), image, **values)[0]
    return dataclasses.replace(job, model=model)


def _weights(**values: Any) -> Any:
    from ...nodes.weights import T2IAdapterWeights

    return T2IAdapterWeights.execute(**values)[0]


def _schedule(unit: str) -> Any:
    from ...nodes.weights import T2IAdapterSchedule

    return T2IAdapterSchedule.execute(1.0, 0.2, "ease in-out", unit=unit)[0]


def _mask(job: models.Job) -> torch.Tensor:
    return torch.linspace(0, 1, job.size).expand(1, job.size, job.size).clone()


def _areas(job: models.Job) -> models.Job:
    """Two halves with one prompt each: more calls of the UNet, each smaller."""
    side = job.size // 8
    halves = [[text, {**more, "area": (side, side // 2, 0, left), "strength": 1.0}]
              for left in (0, side // 2) for text, more in job.positive]  # fmt: skip
    return dataclasses.replace(job, positive=halves)


def _control_net(job: models.Job) -> models.Job:
    from ...nodes.as_controlnet import T2IAdapterToControlNet

    net = T2IAdapterToControlNet.execute(models.our_adapter(job.scale))[0]
    prompts = models.apply_core((job.positive, job.negative), net, models.picture(job.size, 0))
    return dataclasses.replace(job, positive=prompts[0], negative=prompts[1])


def _stack(job: models.Job) -> models.Job:
    for number in range(4):
        job = _apply(job, number, strength=0.5, weights=_schedule("sampling steps"))
    return job


# Name -> its baseline, and how to build it from that. Areas call the UNet differently than a bare run.
FEATURES: dict[str, tuple[str, Make]] = {
    "one adapter": ("bare", _apply),
    "strength and range": ("bare", lambda job: _apply(job, strength=0.7, start_percent=0.1, end_percent=0.9)),
    "mask": ("bare", lambda job: _apply(job, mask=_mask(job))),
    "level weights": ("bare", lambda job: _apply(job, weights=_weights(preset={"preset": "soft (prompt first)"}))),
    "a strength for each side": ("bare", lambda job: _apply(job, weights=_weights(positive=1.0, negative=0.4))),
    "schedule, by noise": ("bare", lambda job: _apply(job, weights=_schedule("noise schedule"))),
    "schedule, by steps": ("bare", lambda job: _apply(job, weights=_schedule("sampling steps"))),
    "four adapters, each with a schedule": ("bare", _stack),
    "as ControlNet": ("bare", _control_net),
    "two areas": ("two areas, bare", lambda job: _apply(_areas(job))),
}
BARE: dict[str, Make] = {"bare": lambda job: job, "two areas, bare": _areas}


def run(options: Options) -> report.Section:
    """Time single steps by turns, then measure each variant's own operations."""
    scale = models.Scale(options.device, options.family, options.quick)
    size = 64 if options.quick else 1024 if options.family == "SDXL" else 512
    plain = models.job("bare", models.unet(scale), scale, size)
    walls = _measure(plain, options)
    head = ("control", "wall time / bare", "own operations, ms a step", "by accounting", "goal", "holds")
    table = report.Table(head, caption=f"{size}×{size}")
    for name, (against, make) in FEATURES.items():
        own = _account(make, plain, scale)
        step_time = statistics.median(walls[against])
        exact = (step_time + own) / step_time
        wall = report.spread(summarise(ratios(walls[name], walls[against])))
        table.add(name, wall, f"{1e3 * own:.2f}", f"{exact:.4f}", f"≤ {GOAL}", report.holds(exact, GOAL))
    notes = (
        "Every schedule changes its weight at every step, so every step computes new residuals.",
        "The baseline of the two areas is a bare run with the same areas.",
    )
    return report.Section(options.key("features"), f"Cost of each control, {scale.family}", [table], notes)


def _measure(plain: models.Job, options: Options) -> dict[str, list[float]]:
    makes = {**BARE, **{name: make for name, (_, make) in FEATURES.items()}}
    steps = 10 if options.device.type == "cuda" else 1
    least = 2 if options.quick else 6
    patience = Patience(least, 4 * least, 0.0 if options.quick else 400.0 * options.patience, 0.004)
    with contextlib.ExitStack() as stack:
        runs = {name: stack.enter_context(SteppedRun(make(plain), steps)) for name, make in makes.items()}
        pairs = [(name, against) for name, (against, _) in FEATURES.items()]
        return interleave({name: each.turn for name, each in runs.items()}, patience, pairs)


def _account(make: Make, plain: models.Job, scale: models.Scale) -> float:
    watched = Account(scale.device)
    with accounting(watched):
        make(plain).sample(30 if scale.device.type == "cuda" else 3 if scale.tiny else 6,
                           lambda *_: watched.end_step())  # fmt: skip
    return step.seconds(watched.steps[1:])
