"""Measurements that need a fresh process: this module starts the process, and is its main module."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from . import models

LAUNCH = Path(__file__).absolute().parents[2] / "dev" / "tasks" / "launch.py"
MARK = "measured: "
LIMIT = 1800.0


def ask(what: str, device: torch.device, asked: Mapping[str, Any], *, fresh: bool = True) -> dict[str, Any]:
    """Run one of MEASUREMENTS in a fresh process.

    Args:
        what: Its name.
        device: Device that the process computes on.
        asked: Its arguments.
        fresh: False measures in this process, which is quick but meaningless.

    Returns:
        The result.
    """
    if not fresh:
        return MEASUREMENTS[what](device, **asked)
    command = [sys.executable, str(LAUNCH), "dev.benchmarks.probe", what, device.type, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    found = next((line for line in done.stdout.splitlines() if line.startswith(MARK)), None)
    if done.returncode != 0 or found is None:
        raise RuntimeError(f"{what} {asked}: got status {done.returncode}; expected figures.\n{done.stderr[-3000:]}")
    measured: dict[str, Any] = json.loads(found.removeprefix(MARK))
    return measured


def main(arguments: list[str]) -> int:
    """Measure once, and print the result as JSON."""
    what, device, asked = arguments
    found = models.start_comfyui(device)
    print(MARK + json.dumps(MEASUREMENTS[what](found, **json.loads(asked))), flush=True)
    return 0


def _sample(device: torch.device, variant: str, family: str, tiny: bool, size: int, steps: int) -> dict[str, Any]:
    scale = models.Scale(device, family, tiny)
    models.adapter_file(scale)
    job = models.job(variant, models.unet(scale), scale, size)
    # Making random weights is not part of the measurement.
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    forget_peak()
    job.sample(steps)
    return {"peak": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()}


def _train(device: torch.device, variant: str, plan: dict[str, Any], steps: int) -> dict[str, Any]:
    from .training_loops import LOOPS, Plan

    # Imports and one-time set-up are not part of the measurement.
    with contextlib.ExitStack() as stack:
        LOOPS[variant](stack, Plan(device, 64, 1, plan["precision"], tiny=True), None).step()
    gc.collect()
    before = resident()
    with contextlib.ExitStack() as stack:
        loop = LOOPS[variant](stack, Plan(device, **plan), None)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        forget_peak()
        for _ in range(steps):
            loop.step()
        if device.type == "cuda":
            return {"peak": torch.cuda.max_memory_allocated(device)}
        # A process that is not fresh may have free memory from before.
        return {"peak": max(1, peak_memory() - before)}


def _listing(device: torch.device, folder: str) -> dict[str, Any]:
    from ...training.shards import list_data

    forget_peak()
    before, started = resident(), time.perf_counter()
    kept = list_data([folder])
    seconds, memory = time.perf_counter() - started, peak_memory() - before
    del kept
    return {"seconds": seconds, "memory": memory}


def _load(device: torch.device, way: str, path: str) -> dict[str, Any]:
    work = LOADS[way]()
    # torch starts its threads at the first reduction; in ComfyUI that has happened before any load.
    torch.ones(2**20).sum()
    forget_peak()
    before = resident()
    started = time.perf_counter()
    kept = work(path)
    seconds = time.perf_counter() - started
    memory = peak_memory() - before
    del kept
    return {"seconds": seconds, "memory": memory}


def _ours() -> Callable[[str], Any]:
    from ...nodes.loading import adapters

    return lambda path: adapters.wrap_adapter(Path(path), "adapter", None, bgr=None, dtype=None)


def _library() -> Callable[[str], Any]:
    import comfy.ops

    from ...adapter_models import loading

    return lambda path: loading.load_adapter_file(Path(path), "adapter", None, comfy.ops.manual_cast)


def _core() -> Callable[[str], Any]:
    import comfy.controlnet

    return comfy.controlnet.load_controlnet  # type: ignore[no-any-return]


def _mapped() -> Callable[[str], Any]:
    from safetensors.torch import load_file

    def load(path: str) -> dict[str, torch.Tensor]:
        if path.endswith(".safetensors"):
            return load_file(path)
        tensors: dict[str, torch.Tensor] = torch.load(path, weights_only=True, mmap=True)
        return tensors

    return load


def _read_once() -> Callable[[str], Any]:
    mapped = _mapped()

    def load(path: str) -> Any:
        tensors = mapped(path)
        return tensors, [float(tensor.sum()) for tensor in tensors.values()]

    return load


def _copied() -> Callable[[str], Any]:
    mapped = _mapped()

    def load(path: str) -> Any:
        tensors = {name: tensor.clone() for name, tensor in mapped(path).items()}
        return tensors, [float(tensor.sum()) for tensor in tensors.values()]

    return load


# Each function does its imports, so that they are not timed, and returns the function to time.
LOADS: dict[str, Callable[[], Callable[[str], Any]]] = {
    "ours": _ours,
    "ours, library only": _library,
    "core": _core,
    "copied": _copied,
    "mapped": _mapped,
    "read once": _read_once,
}
MEASUREMENTS: dict[str, Callable[..., dict[str, Any]]] = {
    "sample": _sample,
    "load": _load,
    "train": _train,
    "listing": _listing,
}


def forget_peak() -> None:
    """Reset the peak of resident memory, if the system can (Linux)."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5", encoding="ascii")


def extra_memory(work: Callable[[], object]) -> int:
    """Return the largest growth of resident memory during some work, in bytes."""
    gc.collect()
    _give_back()
    forget_peak()
    before = resident()
    work()
    return max(0, peak_memory() - before)


def device_peak(work: Callable[[], object], device: torch.device) -> int:
    """Return the peak of a GPU's allocator during some work, in bytes; on a CPU, the growth of resident memory."""
    if device.type != "cuda":
        return extra_memory(work)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def _give_back() -> None:
    """Return free memory to the system (glibc): work that reuses it would seem to need none."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def peak_memory() -> int:
    """Return the peak of resident memory so far, in bytes."""
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    # macOS reports bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident() -> int:
    """Return the current resident memory in bytes."""
    now = _status("VmRSS")
    return peak_memory() if now is None else now


def _status(name: str) -> int | None:
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
