"""A training step: ours, and that of diffusers' T2I-Adapter script, on the same weights and batches."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

from . import models, probe, report
from .measure import Patience, interleave, ratios, summarise, timed
from .options import Options
from .saved import saved_bytes
from .training_loops import FROZEN, LOOPS, SCRIPT, Loop, Plan

# numerator, denominator, upper bounds of time and memory ratio: 1.3 times the steps, 0.8 times the memory.
RATIOS: tuple[tuple[str, str, float | None, float | None], ...] = (
    ("ours", SCRIPT, 1 / 1.3, 0.8),
    ("ours", FROZEN, None, None),
    ("ours, checkpointing", "ours", None, None),
)
# Groups to measure by turns. Not all at once: each UNet of diffusers needs gigabytes.
GROUPS = (("ours", "ours, checkpointing", SCRIPT), ("ours", FROZEN))
# Steps of a process whose memory is measured: the first creates the optimiser's state.
STEPS = 2


def plans(options: Options) -> tuple[Plan, ...]:
    """Return the plan for a device: without a GPU, bf16 is so slow that only narrow networks finish."""
    if options.quick:
        return tuple(Plan(options.device, 64, 1, name, tiny=True) for name in ("fp32", "bf16"))
    if options.device.type == "cuda":
        return tuple(Plan(options.device, 512, 1, name) for name in ("fp32", "bf16"))
    return (Plan(options.device, 256, 1, "fp32"), Plan(options.device, 256, 5, "bf16"))


def run(options: Options) -> report.Section:
    """Time steps by turns, then count operations and memory."""
    tables: list[report.Table] = []
    for plan in plans(options):
        tables += measure(plan, options)
        gc.collect()
    notes = (
        f"*{SCRIPT}* is the inner loop of `train_t2i_adapter_sdxl.py` for SD1.5, without its VAE: its UNet is never "
        f"frozen, so gradients of all its weights are computed and kept. *{FROZEN}* is this loop with a frozen UNet.",
        "*kept for backward*: bytes that autograd keeps of one forward, without weights. *operations*: those of "
        "convolutions, products and attention in a step, counted by torch. Neither depends on the machine.",
        "*peak memory*: memory that training adds to a fresh process after all imports: weights, their gradients, the "
        "optimiser's state, and tensors kept for the backward pass.",
    )
    title = "Training step: random SD1.5-shaped UNet, full adapter, batch of 1"
    return report.Section(options.key("train"), title, tables, notes)


def measure(plan: Plan, options: Options) -> list[report.Table]:
    """Measure the loops of :data:`LOOPS`."""
    asked = {name: value for name, value in dataclasses.asdict(plan).items() if name != "device"}
    peaks = {}
    for name in LOOPS:
        what = {"variant": name, "plan": asked, "steps": STEPS}
        peaks[name] = probe.ask("train", plan.device, what, fresh=not options.quick)["peak"]
    model = models.unet(plan.scale, whole=True)
    groups = [_together(group, plan, model, options) for group in GROUPS]
    costs = {name: cost for _, group in groups for name, cost in group.items()}
    name = f"{plan.precision}, {plan.scale.width} channels, {plan.size}×{plan.size}"
    times = [times for times, _ in groups]
    return [_figures(name, times, peaks, costs), _goals(name, times, peaks), _same(plan, costs)]


def _together(
    group: Sequence[str], plan: Plan, model: Any, options: Options
) -> tuple[dict[str, list[float]], dict[str, Cost]]:
    gc.collect()
    most = 2 if options.quick else 60
    patience = Patience(min(most, 10), most, 0.0 if options.quick else 600.0 * options.patience, 0.01)
    with contextlib.ExitStack() as stack:
        loops = {name: LOOPS[name](stack, plan, model) for name in group}
        costs = {name: account(loop) for name, loop in loops.items()}
        turns = {name: lambda loop=loop: timed(loop.step, plan.device) for name, loop in loops.items()}
        times = interleave(turns, patience, [row[:2] for row in RATIOS if set(row[:2]) <= set(group)])
    return times, costs


@dataclass(frozen=True)
class Cost:
    """Machine-independent cost of a step: bytes kept for its backward pass, and operations; and its loss."""

    kept: int
    operations: int
    loss: float


def account(loop: Loop) -> Cost:
    """Make the first step, and count."""
    counter = FlopCounterMode(display=False)
    with saved_bytes(*loop.networks) as kept, counter:
        loss = loop.step()
    return Cost(kept.nbytes, counter.get_total_flops(), loss)


def _figures(
    name: str, groups: Sequence[Mapping[str, list[float]]], peaks: Mapping[str, int], costs: Mapping[str, Cost]
) -> report.Table:
    head = ("loop", "seconds per step", "peak memory", "kept for backward", "operations, 1e9")
    table = report.Table(head, caption=f"{name}, each loop")
    for loop, cost in costs.items():
        seconds = next(times[loop] for times in groups if loop in times)
        kept, peak = report.megabytes(cost.kept), report.megabytes(peaks[loop])
        table.add(loop, report.spread(summarise(seconds)), peak, kept, f"{cost.operations / 1e9:.1f}")
    return table


def _goals(name: str, groups: Sequence[Mapping[str, list[float]]], peaks: Mapping[str, int]) -> report.Table:
    table = report.Table(("ratio", "goal", "value", "holds"), caption=f"{name}, compared")
    for above, below, time_goal, memory_goal in RATIOS:
        times = next(times for times in groups if above in times and below in times)
        figure = summarise(ratios(times[above], times[below]))
        memory = peaks[above] / peaks[below]
        rows = (
            ("time", time_goal, report.spread(figure), report.verdict(figure, time_goal or 0)),
            ("peak memory", memory_goal, f"{memory:.3f}", report.holds(memory, memory_goal or 0)),
        )
        for what, goal, value, holds in rows:
            table.add(
                f"{what}, {above} / {below}", *(("", value, "") if goal is None else (f"≤ {goal:.3f}", value, holds))
            )
    return table


def _same(plan: Plan, costs: Mapping[str, Cost]) -> report.Table:
    table = report.Table(("check", "ours", "diffusers"), caption="Check that both do the same work")
    table.add(f"loss of the same batch, {plan.precision}", f"{costs['ours'].loss:.6f}", f"{costs[SCRIPT].loss:.6f}")
    return table
