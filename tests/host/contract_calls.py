"""A minimal call for each row of the pack's table of ComfyUI's interfaces: behaviour that signatures don't show.

The calls are in contract_runs.py and contract_parts.py. A call covers one or more rows; it runs once, and raises if
ComfyUI behaves differently than the pack expects.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from . import tiny

CPU = torch.device("cpu")
LATENT = (8, 16)
CALLS: dict[str, Callable[[], None]] = {}


def covers(*paths: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a call for these rows."""

    def register(call: Callable[[], None]) -> Callable[[], None]:
        once = functools.cache(call)
        assert not CALLS.keys() & set(paths)
        CALLS.update(dict.fromkeys(paths, once))
        return once

    return register


@functools.cache
def model() -> Any:
    return tiny.model("SD")


def sampled(patched: Any, **values: Any) -> torch.Tensor:
    return tiny.sample(patched, tiny.latent(*LATENT), steps=1, **values)


def rows(module: str, *ways: str) -> tuple[str, ...]:
    return tuple(f"{module}:{way}" for way in ways)
