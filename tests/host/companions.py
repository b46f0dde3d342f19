"""Tiny style adapters and fusers in the real ComfyUI, and their weights by the published names."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import save_file

from ..adapter_models import companion_samples as hand
from . import tiny

VISION = 32
STYLE = (8, VISION, tiny.CONTEXT, 3)
FUSER = (tiny.CONTEXT, tiny.WIDTHS, 16, 3)


def style_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """A style adapter for the tiny UNets."""
    return hand.random_weights(hand.style_shapes(*STYLE), seed)


def fuser_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """A fuser for the tiny adapters of SD's shape."""
    return hand.random_weights(hand.fuser_shapes(*FUSER), seed)


def _saved(folder: str, tensors: dict[str, torch.Tensor]) -> Path:
    path = Path(folder) / "file.safetensors"
    save_file(tensors, path)
    return path


def style_adapter(weights: dict[str, torch.Tensor] | None = None) -> Any:
    """A T2I_STYLE_ADAPTER."""
    from t2i_adapter_pack.nodes.loading import adapters

    with tempfile.TemporaryDirectory() as folder:
        return adapters.load_style_adapter(_saved(folder, weights or style_weights()), "style")


def fuser(weights: dict[str, torch.Tensor] | None = None) -> Any:
    """A T2I_FUSER."""
    from t2i_adapter_pack.nodes.loading import adapters

    with tempfile.TemporaryDirectory() as folder:
        return adapters.load_fuser(_saved(folder, weights or fuser_weights()), "fuser")


def vision(count: int = 1, tokens: int = 17, width: int = VISION, seed: int = 3) -> Any:
    """A CLIP_VISION_OUTPUT with random tokens."""
    generator = torch.Generator().manual_seed(seed)
    return SimpleNamespace(last_hidden_state=torch.randn(count, tokens, width, generator=generator))


def apply_style(conditioning: list[Any], adapter: Any, output: Any, **values: Any) -> list[Any]:
    """Run the node Apply T2I Style Adapter."""
    from t2i_adapter_pack.nodes.style import ApplyT2IStyleAdapter

    return ApplyT2IStyleAdapter.execute(conditioning, adapter, output, **values)[0]


def combine(model: Any, method: str, **values: Any) -> Any:
    """Run the node Combine T2I-Adapters; return the MODEL and the prompt."""
    from t2i_adapter_pack.nodes.combine import CombineT2IAdapters

    output = CombineT2IAdapters.execute(model, method, **values)
    return output[0], output[1]
