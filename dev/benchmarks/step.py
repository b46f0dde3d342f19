"""The time of a sampling step: bare, with our adapters, and with ComfyUI's."""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import dataclass
from typing import Any

from . import models, report
from .accounting import Account, Cost, accounting
from .measure import Patience, interleave, ratios, summarise
from .options import Options
from .turns import SteppedRun

# numerator, denominator, goal (an upper bound, or None for information only). Equal times may differ by half a percent.
RATIOS: tuple[tuple[str, str, float | None], ...] = (
    ("ours", "bare", 1.01),
    ("ours", "core", 1.0),
    ("ours ×4", "ours", 1.005),
    ("ours ×4", "core ×4", 1.0),
    ("core", "bare", None),
    ("core ×4", "core", None),
)


@dataclass(frozen=True)
class Plan:
    """Sizes and limits of the measurement."""

    sizes: tuple[int, ...]
    steps_per_turn: int
    patience: Patience
    batch: int = 1


def plan(options: Options) -> Plan:
    """Return the plan for a device: a step takes milliseconds on a GPU and seconds on a CPU."""
    pixels = (1024,) if options.family == "SDXL" else (256, 512)
    if options.quick:
        return Plan((64,), 1, Patience(2, 2, 0.0))
    if options.device.type == "cuda":
        return Plan(pixels, 10, Patience(40, 400, 60.0 * options.patience, 0.0015))
    return Plan(pixels, 1, Patience(20, 200, 1500.0 * options.patience, 0.0025))


def run(options: Options) -> report.Section:
    """Time steps by turns, then measure each variant's own operations."""
    chosen = plan(options)
    scale = models.Scale(options.device, options.family, options.quick)
    model = models.unet(scale)
    tables = []
    for size in chosen.sizes:
        walls = measure(model, scale, size, chosen)
        own = {name: account(name, model, scale, size) for name in models.VARIANTS[1:]}
        tables += [_ratios(walls, own, size), _own(walls, own, size)]
    notes = (
        "Ratio of neighbouring steps: median (quartiles; half of the median's 95 % interval; rounds).",
        "By accounting: (bare step + own operations of the first) / (bare step + own operations of the second).",
    )
    name = f"{scale.family}-sized random UNet, {str(scale.dtype).removeprefix('torch.')}, CFG, euler"
    return report.Section(options.key("step"), f"Step time: {name}", tables, notes)


def measure(model: Any, scale: models.Scale, size: int, chosen: Plan) -> dict[str, list[float]]:
    """Time steps of all variants by turns; return seconds per step."""
    jobs = {name: models.job(name, model, scale, size, chosen.batch) for name in models.VARIANTS}
    with contextlib.ExitStack() as stack:
        runs = {name: stack.enter_context(SteppedRun(job, chosen.steps_per_turn)) for name, job in jobs.items()}
        pairs = [(above, below) for above, below, goal in RATIOS if goal is not None]
        return interleave({name: each.turn for name, each in runs.items()}, chosen.patience, pairs)


def account(variant: str, model: Any, scale: models.Scale, size: int, *, tensors: bool = False) -> list[Cost]:
    """Sample and measure the variant's own operations; return the cost of each step after the first.

    Args:
        variant: One of models.VARIANTS.
        model: The bare MODEL.
        scale: Its scale.
        size: Side of the picture in pixels.
        tensors: Count allocations, which slows the operations down and makes the times meaningless.
    """
    watched = Account(scale.device)
    with accounting(watched):
        job = models.job(variant, model, scale, size)
        with watched if tensors else contextlib.nullcontext():
            job.sample(30 if scale.device.type == "cuda" else 3 if scale.tiny else 7, lambda *_: watched.end_step())
    return watched.steps[1:]


def seconds(costs: list[Cost]) -> float:
    """Return the time of a variant's own operations per step, on the slower of host and device."""
    return statistics.median(max(cost.host, cost.device) for cost in costs)


def _ratios(walls: dict[str, list[float]], own: dict[str, list[Cost]], size: int) -> report.Table:
    head = ("ratio", "goal", "wall time", "holds", "by accounting", "holds")
    table = report.Table(head, caption=f"{size}×{size}, steps compared")
    bare = statistics.median(walls["bare"])
    for above, below, goal in RATIOS:
        figure = summarise(ratios(walls[above], walls[below]))
        exact = (bare + _added(own, above)) / (bare + _added(own, below))
        answers = ("", "") if goal is None else (report.verdict(figure, goal), report.holds(round(exact, 4), goal))
        bound = "" if goal is None else f"≤ {goal:g}"
        table.add(f"{above} / {below}", bound, report.spread(figure, 4), answers[0], f"{exact:.5f}", answers[1])
    return table


def _own(walls: dict[str, list[float]], own: dict[str, list[Cost]], size: int) -> report.Table:
    head = ("variant", "step, ms", "own operations, ms on the host", "ms on the GPU", "share of the bare step")
    table = report.Table(head, caption=f"{size}×{size}, each variant's own operations per step")
    bare = statistics.median(walls["bare"])
    for name, times in walls.items():
        costs = own.get(name, [])
        host = statistics.median(cost.host for cost in costs) * 1e3 if costs else 0.0
        device = statistics.median(cost.device for cost in costs) * 1e3 if costs else 0.0
        wall = report.spread(summarise([1e3 * time for time in times]), 1)
        table.add(name, wall, f"{host:.3f}", f"{device:.3f}", f"{_added(own, name) / bare:.4%}")
    return table


def _added(own: dict[str, list[Cost]], variant: str) -> float:
    return seconds(own[variant]) if variant in own else 0.0
