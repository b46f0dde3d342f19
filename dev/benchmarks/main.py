"""Run the benchmarks: `python3 run.py benchmarks -- --only step`."""

from __future__ import annotations

import argparse
import gc
import importlib
import logging
import time
from pathlib import Path

from . import models, report
from .options import Options

# Modules whose `run(options)` returns a section, or yields it as it grows; in running order.
BENCHMARKS = (
    "forwards",
    "allocations",
    "startup",
    "forward",
    "load",
    "annotators",
    "annotator_networks",
    "step",
    "features",
    "train",
    "feeding",
)
RESULTS = Path(__file__).absolute().parent / "RESULTS.md"


def main(arguments: list[str]) -> int:
    """Run the chosen benchmarks, and write each result as soon as it is available."""
    asked = _parser().parse_args(arguments)
    import torch

    device = models.start_comfyui(asked.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    logging.getLogger().setLevel(logging.WARNING)
    if asked.quick:
        torch.set_num_threads(1)  # several threads are slow on a machine that is busy with other tests
    options = Options(device, asked.quick, "SDXL" if asked.sdxl else "SD", asked.patience)
    out = asked.out or (None if asked.quick else RESULTS)
    machine = report.machine(device)
    for name in asked.only or BENCHMARKS:
        started = time.monotonic()
        found = importlib.import_module(f".{name}", __package__).run(options)
        # A long benchmark yields its section again as it grows, so that an interrupted run leaves partial results.
        for section in [found] if isinstance(found, report.Section) else found:
            if out is not None:
                report.write(section, machine, out)
        print(section.markdown(machine))
        print(f"{name}: {time.monotonic() - started:.0f} s\n", flush=True)
        # Free the models before the next benchmark.
        gc.collect()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="run this one; can be repeated")
    parser.add_argument("--quick", action="store_true", help="tiny models and few rounds: the figures are meaningless")
    parser.add_argument("--out", type=Path, help=f"where to write (default: {RESULTS.name}; with --quick nowhere)")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="device to compute on (default: a GPU if there is one)"
    )
    parser.add_argument("--sdxl", action="store_true", help="SDXL-sized UNet and adapter instead of SD1.5-sized")
    parser.add_argument("--patience", type=float, default=1.0, help="factor of the time for measuring")
    return parser
