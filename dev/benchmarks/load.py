"""Loading an adapter file: time and memory, against reading the same file with safetensors or torch alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from . import models, probe, report
from .measure import Patience, Summary, interleave, ratios, summarise
from .options import Options

GOAL = 1.3
WAYS = {
    "ours": "Load T2I-Adapter: the network in a model patcher, every weight checked",
    "ours, library only": "the same without the model patcher",
    "copied": "the tensors in memory of their own, and a sum of each",
    "read once": "the tensors as they are mapped, and a sum of each",
    "mapped": "the tensors, nothing read",
    "core": "ComfyUI's own loader",
}


def run(options: Options) -> report.Section:
    """Load in fresh processes, by turns, from a warm cache of the system."""
    scale = models.Scale(options.device, options.family, options.quick)
    with tempfile.TemporaryDirectory() as folder:
        pickle = Path(folder, "adapter.pth")
        torch.save(models.adapter_weights(scale), pickle)
        tables = [table for path in (models.adapter_file(scale), pickle) for table in _measure(path, options)]
    notes = (
        "`load_file` maps the file and reads nothing of it: its time is that of opening a file. Ours reads every "
        "weight into memory of its own, so that a file cut while in use ends nothing, and refuses NaN; so the fair "
        "comparison is *copied*. *Read once* leaves the weights mapped.",
        "Memory is what the process grew by at most, mapped pages included.",
    )
    return report.Section(options.key("load"), f"Loading a {scale.family} adapter", tables, notes)


def _measure(path: Path, options: Options) -> list[report.Table]:
    size = path.stat().st_size
    # ComfyUI's own loader does not map a pickle of this kind any differently; it is shown for scale.
    ways = [name for name in WAYS if not options.quick or name in ("ours", "copied", "read once", "mapped")]
    memory: dict[str, list[float]] = {name: [] for name in ways}

    def turn(name: str) -> float:
        measured = probe.ask("load", options.device, {"way": name, "path": str(path)}, fresh=not options.quick)
        memory[name].append(measured["memory"] / size)
        return float(measured["seconds"])

    rounds = 1 if options.quick else max(6, round(12 * options.patience))
    path.read_bytes()  # warms the system's cache
    times = interleave({name: lambda name=name: turn(name) for name in ways}, Patience(rounds, rounds, 0.0))
    kind = f"`{path.suffix}`, {report.megabytes(size)}"
    return [_figures(kind, times, memory), _goals(kind, times, memory)]


def _figures(kind: str, times: dict[str, list[float]], memory: dict[str, list[float]]) -> report.Table:
    table = report.Table(("way", "what it gives", "ms", "memory / file size"), caption=f"{kind}, each way")
    for name, seconds in times.items():
        milliseconds = summarise([1e3 * each for each in seconds])
        table.add(name, WAYS[name], report.spread(milliseconds, 1), report.spread(summarise(memory[name]), 3))
    return table


def _goals(kind: str, times: dict[str, list[float]], memory: dict[str, list[float]]) -> report.Table:
    table = report.Table(("figure", "goal", "value", "holds"), caption=f"{kind}, goals")

    def add(what: str, figure: Summary) -> None:
        table.add(what, f"≤ {GOAL}", report.spread(figure), report.verdict(figure, GOAL))

    for other in ("copied", "read once", "mapped"):
        add(f"time, ours / {other}", summarise(ratios(times["ours"], times[other])))
    add("peak memory / file size", summarise(memory["ours"]))
    return table
