"""Allocations per step, memory held during a run, and peak memory of a process that samples with an adapter."""

from __future__ import annotations

import gc
import itertools
import statistics
from collections.abc import Iterable, Iterator
from typing import Any
from unittest import mock

import torch

from . import models, probe, report, step
from .options import Options

STEPS = 3


def run(options: Options) -> report.Section:
    """Count allocations and held bytes in this process, and measure peaks in one process per variant."""
    scale = models.Scale(options.device, options.family, options.quick)
    size = _size(options)
    model = models.unet(scale)
    tables = [_per_step(model, scale, size), _held(model, scale, size)]
    # Free memory before the measuring processes start.
    del model
    gc.collect()
    tables.append(_peaks(options, size))
    notes = (
        "Allocations: storages that a variant's own operations allocate in a step after the first, at constant weights "
        "(counted by a TorchDispatchMode; views and in-place operations allocate none).",
        "Held: distinct storages of features, residuals and caches while sampling, summed over all devices.",
        "Peak: resident memory of the process on the CPU, of torch's allocator on a GPU; the minimum of all processes. "
        "On the CPU this includes the pages of the mapped file, which the system can reclaim; core copies them.",
    )
    title = f"Allocations and memory, {scale.family} at {size}×{size}"
    return report.Section(options.key("allocations"), title, tables, notes)


def _size(options: Options) -> int:
    return 64 if options.quick else 1024 if options.family == "SDXL" else 512


def _per_step(model: Any, scale: models.Scale, size: int) -> report.Table:
    table = report.Table(("variant", "tensors per step", "bytes per step", "goal", "holds"), caption="Allocations")
    for name in models.VARIANTS[1:]:
        costs = step.account(name, model, scale, size, tensors=True)
        tensors = statistics.median(cost.tensors for cost in costs)
        nbytes = statistics.median(cost.nbytes for cost in costs)
        goal = ("0", report.holds(tensors, 0)) if name.startswith("ours") else ("", "")
        table.add(name, f"{tensors:g}", report.megabytes(nbytes), *goal)
    return table


def _held(model: Any, scale: models.Scale, size: int) -> report.Table:
    head = ("variant", "held, ours", "held, core", "ours / core", "goal", "holds")
    table = report.Table(head, caption="Held during a run")
    for suffix in ("", " ×4"):
        ours, core = (_held_by(f"{name}{suffix}", model, scale, size) for name in ("ours", "core"))
        ratio = ours / core
        adapters = "four adapters" if suffix else "one adapter"
        table.add(
            adapters, report.megabytes(ours), report.megabytes(core), f"{ratio:.3f}", "≤ 1", report.holds(ratio, 1)
        )
    return table


def _held_by(variant: str, model: Any, scale: models.Scale, size: int) -> int:
    """Sample, and return the bytes that the variant holds in the middle of a step, including clones."""
    import comfy.controlnet

    from ...adapter_models import stack

    seen: list[int] = []
    ours, core = stack.ResidualComputer.residuals, comfy.controlnet.T2IAdapter.get_control

    def residuals(self: Any, call: Any) -> Any:
        answer = ours(self, call)
        made = itertools.chain.from_iterable(inputs._features.values() for inputs in self._inputs.values())
        features = [level for each in made for level in each.levels]
        entries = (use.adapter.cache._entries.values() for use in self.uses)
        cached = [level for _, each in itertools.chain.from_iterable(entries) for level in each.levels]
        ready = [each for sums in self._ready.values() for each in sums.values()]
        seen.append(_bytes([*features, *cached, *ready, *answer.values()]))
        return answer

    def get_control(self: Any, *args: Any) -> Any:
        answer = core(self, *args)
        seen.append(_bytes([*_tensors(answer), *(each for link in _chain(self) for each in _tensors(link))]))
        return answer

    with (
        mock.patch.object(stack.ResidualComputer, "residuals", residuals),
        mock.patch.object(comfy.controlnet.T2IAdapter, "get_control", get_control),
    ):
        models.job(variant, model, scale, size).sample(STEPS)
    return max(seen)


def _chain(control: Any) -> Iterator[dict[str, Any]]:
    while control is not None:
        yield control.control_input
        control = control.previous_controlnet


def _tensors(control: dict[str, Any]) -> Iterator[torch.Tensor]:
    return (value for values in control.values() for value in values if value is not None)


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    storages = {each.untyped_storage()._cdata: each.untyped_storage().nbytes() for each in tensors}
    return sum(storages.values())


def _peaks(options: Options, size: int) -> report.Table:
    head = ("variant", "peak", "above bare", "above bare, ours / core", "goal", "holds")
    table = report.Table(head, caption="Peak of the process")
    variants = models.VARIANTS[:3] if options.quick else models.VARIANTS
    peaks = {name: _peak(options, name, size) for name in variants}
    for name, peak in peaks.items():
        above = peak - peaks["bare"]
        rival = peaks.get(name.replace("ours", "core"), 0) - peaks["bare"]
        goal = ("", "", "")
        if name.startswith("ours"):
            goal = (f"{above / rival:.3f}" if rival > 0 else "", "≤ core", report.holds(above, rival))
        table.add(name, report.megabytes(peak), report.megabytes(above), *goal)
    return table


def _peak(options: Options, variant: str, size: int) -> int:
    asked = {"variant": variant, "family": options.family, "tiny": options.quick, "size": size, "steps": STEPS}
    # Other allocations vary slightly between processes; the minimum has the least noise.
    repeats = 1 if options.quick or options.device.type == "cuda" else 2
    return min(int(probe.ask("sample", options.device, asked, fresh=not options.quick)["peak"]) for _ in range(repeats))
