"""Write results: one section per benchmark and device in RESULTS.md, each with the machine it was measured on."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import math
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .measure import Summary

TITLE = "# Benchmark results\n\nWritten by `benchmarks`; how to read them: [README.md](README.md).\n"
# Distributions that are compared with.
COMPARED = ("diffusers", "opencv-python-headless", "pillow", "controlnet-aux")


@dataclass
class Table:
    """Rows under a heading. If the table has goals, the last cell of a row is `holds`."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    caption: str = ""

    def add(self, *cells: object) -> None:
        """Append a row."""
        if len(cells) != len(self.head):
            raise ValueError(f"{self.caption}: got {len(cells)} cells; expected {len(self.head)}.")
        self.rows.append(tuple(str(cell) for cell in cells))

    def markdown(self) -> str:
        """Return the table as text."""
        lines = [self.head, tuple("---" for _ in self.head), *self.rows]
        text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"{self.caption}\n\n{text}" if self.caption else text


@dataclass
class Section:
    """The results of one benchmark."""

    key: str
    title: str
    tables: list[Table]
    notes: Sequence[str] = ()

    def markdown(self, machine: str) -> str:
        """Return the section between marks that let a later run find it."""
        parts = [f"## {self.title}", machine, *(table.markdown() for table in self.tables)]
        parts += ["\n".join(f"- {note}" for note in self.notes)] if self.notes else []
        return f"{_begin(self.key)}\n" + "\n\n".join(parts) + f"\n{_end(self.key)}\n"


def _begin(key: str) -> str:
    return f"<!-- begin {key} -->"


def _end(key: str) -> str:
    return f"<!-- end {key} -->"


def write(section: Section, machine: str, path: Path) -> None:
    """Write a section into the results file; it replaces its older version, and the others stay."""
    text = path.read_text(encoding="utf-8") if path.is_file() else TITLE
    new = section.markdown(machine)
    old = re.compile(f"{re.escape(_begin(section.key))}.*?{re.escape(_end(section.key))}\n", re.DOTALL)
    # A function, because re.sub would read backslashes in a replacement text as escapes.
    text = old.sub(lambda _: new, text) if old.search(text) else f"{text}\n{new}"
    path.write_text(text, encoding="utf-8")


def verdict(figure: Summary, goal: float) -> str:
    """Return whether a measured figure meets its goal (an upper bound), considering the noise."""
    if figure.top <= goal:
        return "yes"
    if figure.bottom > goal:
        return "no"
    return f"{'likely' if figure.median <= goal else 'unlikely'}, within the noise"


def holds(value: float, goal: float) -> str:
    """Return whether an exact figure meets its goal (an upper bound)."""
    return "yes" if value <= goal else "no"


def spread(figure: Summary, digits: int = 3) -> str:
    """Format a median with its quartiles and uncertainty."""
    sure = "unknown" if math.isinf(figure.sure) else f"±{figure.sure:.{digits}f}"
    return f"{figure.median:.{digits}f} ({figure.low:.{digits}f}–{figure.high:.{digits}f}; {sure}; n={figure.count})"


def megabytes(count: float) -> str:
    """Format a number of bytes."""
    return f"{count / 1e6:.1f} MB"


def machine(device: torch.device) -> str:
    """Describe the machine and the software of the measurement."""
    try:
        from comfyui_version import __version__ as comfyui
    except ImportError:  # a ComfyUI that was copied without its top-level files
        comfyui = "of unknown version"
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    return (
        f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, device {device.type} ({where}), "
        f"{os.cpu_count()} cores of {_cpu()}, {platform.system()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, ComfyUI {comfyui}{_others()}."
    )


def _others() -> str:
    """Return the installed distributions that are compared with, and their versions."""
    found = ""
    for name in COMPARED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found += f", {name} {importlib.metadata.version(name)}"
    return found


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text(encoding="utf-8"))
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()
