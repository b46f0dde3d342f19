"""Test and benchmark on a GPU: `python3 run.py gpu`; at small sizes: `python3 run.py gpu -- --device cpu`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .. import report
from . import checks, parts
from .children import StoppedError, beside
from .setting import TABLES, Row, Setting

RESULTS = Path(__file__).absolute().parents[1] / "RESULTS.md"
INDUCTOR = Path(__file__).absolute().parents[2] / ".comfyui" / "inductor"
NAME = "gpu"
# Seconds for the whole run by device, and the checks' share. On the CPU, time is not a goal.
SECONDS = {"cuda": 570.0, "cpu": 7200.0}
CHECKING = 0.4
TOLD = 20
# The part that the command's test measures.
BRIEF = "pictures"
NOT_RUN = (
    "This suite has not run on a GPU: none was available. Its code was tested on the CPU, by the same command with "
    "`--device cpu`, at sizes at which the figures are meaningless."
)
NOTES = (
    "Medians of interleaved rounds (quartiles; half of the median's 95 % interval; rounds). Each part has its own "
    "process and time limit; a row says if its time ran out.",
    "Measured with `--disable-dynamic-vram`: torch's counters miss allocations of dynamic VRAM.",
    "Waits: as `torch.cuda.set_sync_debug_mode` reports them; on the CPU, operations that read a value.",
    "Pictures are latents, without the VAE. The adapter is loaded anew for each first picture, and the UNet is moved "
    "to the device.",
    "The two depth networks have different random weights, since their weights' names differ.",
)


@dataclass
class Results:
    """The section of a run, rewritten with each row.

    Attributes:
        device: The device.
        machine: Its description.
        out: The results file, or None.
    """

    device: torch.device
    machine: str
    out: Path | None
    checked: report.Table = field(default_factory=lambda: report.Table(checks.HEAD, caption="Checks"))
    tables: dict[str, report.Table] = field(
        default_factory=lambda: {name: report.Table(head, caption=caption) for name, (caption, head) in TABLES.items()}
    )
    failed: list[str] = field(default_factory=list)

    def section(self) -> report.Section:
        """Return all rows so far."""
        tables = [table for table in (self.checked, *self.tables.values()) if table.rows]
        failures = [f"Failed: `{name}`" for name in self.failed[:TOLD]]
        return report.Section(_key(self.device.type), "On a GPU", tables, (*NOTES, *failures))

    def write(self) -> None:
        """Write it."""
        if self.out is not None:
            report.write(self.section(), self.machine, self.out)

    def add(self, row: Row) -> None:
        """Append a row of a measurement."""
        table, cells = row
        self.tables[table].add(*cells)
        self.write()
        print(f"{table}: {' | '.join(cells)}", flush=True)

    def miss(self, missing: Sequence[tuple[str, str]], why: str) -> None:
        """Append rows that say why they were not measured."""
        for table, case in missing:
            blank = [""] * (len(TABLES[table][1]) - 2)
            self.add((table, (case, f"not measured: {why}", *blank)))

    def check(self, check: checks.Check, outcome: checks.Outcome) -> None:
        """Append a row of a check."""
        self.checked.add(*outcome.row(check))
        self.failed += outcome.failed
        self.write()
        print(" | ".join(outcome.row(check)), *outcome.failed, sep="\n  ", flush=True)


def main(arguments: list[str]) -> int:
    """Run the checks, then the measurements; write each row as soon as it is available.

    Returns:
        The exit status: 1 if a check failed. Missed goals are shown in the tables only.
    """
    asked = _parser().parse_args(arguments)
    comfyui = os.environ.get("COMFYUI_PATH", "")
    if not Path(comfyui, "comfy").is_dir():
        sys.exit(f"gpu: got COMFYUI_PATH={comfyui}; expected ComfyUI's folder. Use `python3 run.py gpu`.")
    if asked.device == "cuda" and not torch.cuda.is_available():
        note_absence(RESULTS)
        sys.exit("gpu: got no CUDA device; expected one. To test the suite's code, use `-- --device cpu`.")
    sys.path.append(comfyui)  # for its version
    # Shared by all processes, and kept between runs: compiling takes longer than measuring.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(INDUCTOR))
    device = torch.device(asked.device)
    out = asked.out or (RESULTS if device.type == "cuda" else None)
    results = Results(device, report.machine(device), out)
    seconds = asked.seconds or SECONDS[asked.device]
    until = time.monotonic() + seconds
    bad = False
    if asked.only != "measurements":
        limit = seconds * (1.0 if asked.only == "checks" else CHECKING)
        warming = () if asked.brief or asked.only else parts.WARMING
        with beside(parts.command(part, Setting(device)) for part in warming):
            bad = _check(results, comfyui, limit, asked.brief)
    if asked.only != "checks":
        _measure(results, until, asked.brief)
    print(results.section().markdown(results.machine))
    return int(bad)


def _check(results: Results, comfyui: str, limit: float, brief: bool) -> bool:
    bad = False
    chosen = checks.BRIEF if brief else checks.CHECKS
    for check, outcome in checks.run(chosen, comfyui, cpu=results.device.type == "cpu", limit=limit):
        results.check(check, outcome)
        bad = bad or outcome.bad
    return bad


def _measure(results: Results, until: float, brief: bool) -> None:
    left = [part for part in parts.PARTS if part.name == BRIEF or not brief]
    while left:
        part = left[0]
        seconds = (until - time.monotonic()) * part.share / sum(each.share for each in left)
        setting = Setting(results.device, brief, max(1.0, seconds))
        missing, why = list(part.cases(setting)), "no row"
        try:
            for row in parts.measured(part, setting):
                missing.remove((row[0], row[1][0]))
                results.add(row)
        except StoppedError as stopped:
            why = str(stopped).replace("|", "/")
        results.miss(missing, why)
        left.pop(0)


def note_absence(path: Path) -> None:
    """Write into the results that the suite has not run on a GPU, unless it has."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if f"begin {_key('cuda')} " not in text:
        report.write(report.Section(_key("cuda"), "On a GPU", []), NOT_RUN, path)


def _key(device: str) -> str:
    return f"{NAME} {device}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu", description=__doc__)
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cuda", help="cpu: small sizes, goals do not apply"
    )
    parser.add_argument("--only", choices=("checks", "measurements"), help="one half")
    parser.add_argument(
        "--seconds", type=float, help=f"for the whole run (default: {SECONDS['cuda']:.0f}, on the CPU more)"
    )
    parser.add_argument("--brief", action="store_true", help="fewer cases, for a test")
    parser.add_argument("--out", type=Path, help=f"results file (default: {RESULTS.name}; none on the CPU)")
    return parser
