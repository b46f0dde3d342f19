"""A sampling step bare, with our control and with core's: time, waits of the host, and peak memory."""

from __future__ import annotations

import gc
import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import models, probe, report, step
from ..host_reads import counting
from ..measure import ratios, summarise
from .setting import Family, Row, Setting

BATCHES = (1, 4)
COUNTS = (("", "one adapter"), (" ×4", "four adapters"))
# Steps of an untimed run: the first computes the features.
STEPS = 4
# Steps per turn by family and batch size: a tenth of a second for SD, half a second for SDXL.
STEPS_PER_TURN = {("SD", 1): 8, ("SD", 4): 4, ("SDXL", 1): 3, ("SDXL", 4): 1}


@dataclass(frozen=True)
class Group:
    """Variants that are measured by turns.

    Attributes:
        batch: Batch size.
        compiled: Whether ComfyUI's node TorchCompileModel compiles the MODEL.
    """

    batch: int
    compiled: bool

    def case(self, family: Family, setting: Setting, adapters: str) -> str:
        """Return the name of a row."""
        mode = "compiled" if self.compiled else "eager"
        return f"{family} {setting.size(family)}, batch of {self.batch}, {adapters}, {mode}"


def groups(family: Family, setting: Setting) -> list[Group]:
    """Return the groups, the most important first."""
    if setting.brief:
        return [Group(1, True)] if family == "SDXL" else [Group(4, False)]  # Dynamo traces SDXL's faster
    return [Group(batch, compiled) for compiled, batch in itertools.product((False, True), BATCHES)]


def cases(family: Family, setting: Setting) -> list[tuple[str, str]]:
    """Return (table, case) of every row of a complete :func:`run`."""
    return [
        (table, group.case(family, setting, adapters))
        for group in groups(family, setting)
        for table in ("memory", *(() if group.compiled else ("reads",)), "steps")
        for _, adapters in COUNTS
    ]


def run(family: Family, setting: Setting) -> Iterator[Row]:
    """Measure group by group."""
    scale = models.Scale(setting.device, family, setting.small)
    eager = models.unet(scale)
    made: dict[bool, Any] = {False: eager}
    wanted = groups(family, setting)
    for number, group in enumerate(wanted):
        if group.compiled not in made:
            made[True] = compiled(eager, setting)
        model = made[group.compiled]
        yield from _memory(family, model, scale, group, setting)
        if not group.compiled:
            yield from _reads(family, model, scale, group, setting)
        yield from _steps(family, model, scale, group, setting, len(wanted) - number)


def compiled(model: Any, setting: Setting) -> Any:
    """Compile a MODEL as users do; without a GPU only by Dynamo, since a C++ compiler takes minutes."""
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    return TorchCompileModel.execute(model, "eager" if setting.small else "inductor")[0]


def warm(family: Family, setting: Setting) -> Iterator[Row]:
    """Fill inductor's cache on disk with everything that :func:`run` compiles; yields no rows."""
    scale = models.Scale(setting.device, family, setting.small)
    model = compiled(models.unet(scale), setting)
    for batch, variant in itertools.product(BATCHES, ("bare", "ours", "core")):
        models.job(variant, model, scale, setting.size(family), batch).sample(1)
    yield from ()


def _memory(family: Family, model: Any, scale: models.Scale, group: Group, setting: Setting) -> Iterator[Row]:
    peaks = {name: _peak(models.job(name, model, scale, setting.size(family), group.batch))
             for name in models.VARIANTS}  # fmt: skip
    for suffix, adapters in COUNTS:
        ours, core = peaks[f"ours{suffix}"], peaks[f"core{suffix}"]
        cells = (*(report.megabytes(each) for each in (peaks["bare"], ours, core)), *_share(ours, core))
        yield "memory", (group.case(family, setting, adapters), *cells)


def _share(ours: float, core: float, goal: float = 1.0) -> tuple[str, str]:
    """Return a ratio and whether it meets the goal; on a CPU the measured growth may be 0."""
    return (f"{ours / core:.3f}", report.holds(ours / core, goal)) if core else ("", report.holds(ours, core))


def _peak(job: models.Job) -> int:
    import comfy.model_management

    job.sample(2)  # compilation and one-time set-up are not part of it
    comfy.model_management.unload_all_models()
    return probe.device_peak(lambda: job.sample(2), job.scale.device)


def _reads(family: Family, model: Any, scale: models.Scale, group: Group, setting: Setting) -> Iterator[Row]:
    found = {name: reads_per_step(models.job(name, model, scale, setting.size(family), group.batch))
             for name in models.VARIANTS}  # fmt: skip
    for suffix, adapters in COUNTS:
        each = [found["bare"], found[f"ours{suffix}"], found[f"core{suffix}"]]
        added = max(0, each[1] - each[0])
        cells = (*map(str, each), str(added), report.holds(added, 0))
        yield "reads", (group.case(family, setting, adapters), *cells)


def reads_per_step(job: models.Job) -> int:
    """Return the largest number of waits of the host in a step after the first."""
    job.sample(1)
    with counting(job.scale.device) as count:
        marks: list[int] = []
        job.sample(STEPS, lambda *_: marks.append(count()))
    return max(later - first for first, later in itertools.pairwise(marks))


def _steps(family: Family, model: Any, scale: models.Scale, group: Group, setting: Setting, left: int) -> Iterator[Row]:
    gc.collect()
    steps = 1 if setting.small else STEPS_PER_TURN[family, group.batch]
    plan = step.Plan((setting.size(family),), steps, setting.patience(left), group.batch)
    walls = step.measure(model, scale, plan.sizes[0], plan)
    bare = f"{1e3 * statistics.median(walls['bare']):.2f}"
    for suffix, adapters in COUNTS:
        ours = walls[f"ours{suffix}"]
        cells = [*_compared(ours, walls["bare"], 1.01), *_compared(ours, walls[f"core{suffix}"], 1.0)]
        yield "steps", (group.case(family, setting, adapters), bare, *cells)


def _compared(above: Sequence[float], below: Sequence[float], goal: float) -> tuple[str, str]:
    figure = summarise(ratios(above, below))
    return report.spread(figure, 4), report.verdict(figure, goal)
