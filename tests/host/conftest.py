"""Tests inside the real ComfyUI: it is imported before the first of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from . import tiny


@pytest.fixture(scope="session", autouse=True)
def inside_comfyui(comfyui: Any) -> Iterator[Any]:
    """Let every test here import ComfyUI's modules and the pack's nodes."""
    threads = torch.get_num_threads()
    # The models are too small for more: waiting for each other takes longer than the work.
    torch.set_num_threads(1)
    yield comfyui
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def models(inside_comfyui: Any) -> dict[str, Any]:
    """A MODEL of each family, shared by all tests: nodes clone it, and a test must not change it."""
    return {kind: tiny.model(kind) for kind in ("SD", "SDXL")}


@pytest.fixture
def sd(models: dict[str, Any]) -> Any:
    """The MODEL of SD's shape."""
    return models["SD"]


@pytest.fixture
def sdxl(models: dict[str, Any]) -> Any:
    """The MODEL of SDXL's shape."""
    return models["SDXL"]
