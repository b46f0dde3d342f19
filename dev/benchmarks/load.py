"""Loading an adapter file: time and memory, against reading the file with only safetensors or torch."""

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
    """Load in fresh processes, by turns, with the file in the system's cache."""
    scale = models.Scale(options.device, options.family, options.quick)
    with tempfile.TemporaryDirectory() as folder:
        pickle = Path(folder, "adapter.pth")
        torch.save(models.adapter_weights(scale), pickle)
        tables = [table for path in (models.adapter_file(scale), pickle) for table in _measure(path, options)]
    notes = (
        "`load_file` maps the file without reading it: its time is the time of opening a file. Ours reads every "
        "weight into its own memory, so that truncating the file later is harmless, and rejects NaN; so the fair "
        "comparison is *copied*. *Read once* leaves the weights mapped.",
        "Memory is the largest growth of the process, including mapped pages.",
    )
    return report.Section(options.key("load"), f"Loading a {scale.family} adapter", tables, notes)


def _measure(path: Path, options: Options) -> list[report.Table]:
    size = path.stat().st_size
    # Shown for scale: ComfyUI's own loader maps such a pickle in the same way.
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
