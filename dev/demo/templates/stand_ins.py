"""Random weights in published layouts for models that the miniature lacks: style adapter, CLIP vision, fuser."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....adapter_models.fuser import CoAdapterFuser, FuserConfig
from ....adapter_models.style import StyleAdapter, StyleConfig

STYLE, FUSER, CLIP_VISION = "t2iadapter_style_random.pth", "coadapter_fuser_untrained.pth", "clip_vision_random.pt"
# The miniature's prompt width and level widths.
CONTEXT, CHANNELS = 64, (32, 64, 128, 128)
# ViT-L/14, the only CLIP for style adapters; ComfyUI has no smaller one with its layout.
VISION: Mapping[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
}


def write(models: Path) -> None:
    """Write the files into ComfyUI's model folders.

    Args:
        models: Its models folder.
    """
    with torch.device("meta"):
        style = StyleAdapter(StyleConfig(tokens=8, width=VISION["hidden_size"], context=CONTEXT, layers=3))
    # As before training: the fuser does not change any balance.
    torch.manual_seed(0)
    fuser = CoAdapterFuser(FuserConfig(CONTEXT, CHANNELS, tasks=16, layers=3))
    files: dict[str, Mapping[str, Tensor]] = {
        f"style_models/{STYLE}": random(style.state_dict()),
        f"clip_vision/{CLIP_VISION}": random(vision_layout()),
        f"controlnet/{FUSER}": fuser.state_dict(),
    }
    for name, tensors in files.items():
        path = models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(dict(tensors), path)


def vision_layout() -> Mapping[str, Tensor]:
    """Return names and shapes of CLIP vision's weights, without values."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    with torch.device("meta"):
        layout: Mapping[str, Tensor] = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION)).state_dict()
    return layout


def random(layout: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return random weights of a layout, with norms as before training.

    All are views of the largest one, so that hundreds of millions of weights take a few megabytes.
    """
    generator = torch.Generator().manual_seed(0)
    pool = torch.randn(max(tensor.numel() for tensor in layout.values()), generator=generator) * 0.02
    return dict(_random(layout, pool))


def _random(layout: Mapping[str, Tensor], pool: Tensor) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in layout.items():
        if not tensor.is_floating_point():
            continue  # positions, which every program computes itself
        if tensor.ndim == 1 and "class_embedding" not in name:
            yield name, torch.ones(tensor.shape) if name.endswith("weight") else torch.zeros(tensor.shape)
        else:
            yield name, pool[: math.prod(tensor.shape)].view(tensor.shape)
