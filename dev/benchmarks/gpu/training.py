"""Training steps and their peak memory, against the loop of diffusers' script on the same weights and batches."""

from __future__ import annotations

import contextlib
import gc
import statistics
from collections.abc import Iterator

from .. import models, probe, report
from ..measure import interleave, ratios, summarise, timed
from ..training_loops import LOOPS, SCRIPT, Plan
from .setting import Family, Row, Setting

GROUP = ("ours", SCRIPT)
TIME, MEMORY = 1 / 1.3, 0.8
# The first step creates the optimiser's state.
STEPS = 2


def plan(family: Family, setting: Setting) -> Plan:
    """Return the setups: SDXL with checkpointing, since it does not fit otherwise."""
    size = setting.size(family)
    return Plan(setting.device, size, 1, "bf16", setting.small, family, checkpointing=family == "SDXL")


def cases(family: Family, setting: Setting) -> list[tuple[str, str]]:
    """Return (table, case) of every row."""
    return [("training", _case(plan(family, setting)))]


def _case(chosen: Plan) -> str:
    return f"{chosen.family} {chosen.size}{', checkpointing' if chosen.checkpointing else ''}"


def run(family: Family, setting: Setting) -> Iterator[Row]:
    """Measure each loop's memory separately, then time steps by turns."""
    chosen = plan(family, setting)
    if setting.small:
        LOOPS[SCRIPT](contextlib.ExitStack(), chosen, None).step()  # imports and one-time set-up
    peaks = {name: _peak(name, chosen) for name in GROUP}
    model = models.unet(chosen.scale, whole=True)
    with contextlib.ExitStack() as stack:
        loops = {name: LOOPS[name](stack, chosen, model) for name in GROUP}
        losses = [f"{loop.step():.5f}" for loop in loops.values()]
        turns = {name: lambda loop=loop: timed(loop.step, chosen.device) for name, loop in loops.items()}
        times = interleave(turns, setting.patience(1, 0.01), [GROUP])
    ratio = summarise(ratios(times["ours"], times[SCRIPT]))
    memory = peaks["ours"] / max(1, peaks[SCRIPT])
    yield (
        "training",
        (
            _case(chosen),
            *(f"{1 / statistics.median(times[name]):.2f}" for name in GROUP),
            report.spread(ratio),
            report.verdict(ratio, TIME),
            *(report.megabytes(peaks[name]) for name in GROUP),
            f"{memory:.3f}",
            report.holds(memory, MEMORY),
            " ".join(losses),
        ),
    )


def _peak(name: str, chosen: Plan) -> int:
    def work() -> None:
        with contextlib.ExitStack() as stack:
            loop = LOOPS[name](stack, chosen, None)
            for _ in range(STEPS):
                loop.step()

    gc.collect()
    return probe.device_peak(work, chosen.device)
