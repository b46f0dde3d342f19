"""A variant as ComfyUI values: the MODEL with its adapters, and the initial latent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...miniature import generate, measure
from . import recipes
from .variants import ALL_LEVELS, Use, Variant

# The inpainted part: the columns from the middle on.
HALF = generate.SIZE // 2


def apply(model: Any, use: Use, file: Path, scenes: Any) -> Any:
    """Run Load T2I-Adapter, the weights' nodes and Apply T2I-Adapter with the scenes' exact conditions."""
    from ....nodes.apply import ApplyT2IAdapter
    from ....nodes.load import LoadT2IAdapter
    from ....nodes.weights import T2IAdapterSchedule, T2IAdapterWeights

    recipe = recipes.recipe_named(use.adapter)
    weights = None
    if use.levels != ALL_LEVELS:
        levels = {f"level_{number}": factor for number, factor in enumerate(use.levels, 1)}
        weights = T2IAdapterWeights.execute({"preset": "custom", **levels})[0]
    if use.steps != (0.0, 1.0):
        start, end = use.steps
        weights = T2IAdapterSchedule.execute(
            start_percent=start, end_percent=end, unit="sampling steps", weights=weights
        )[0]
    hint = generate.exact_hint(recipe.kind if recipe else use.adapter, scenes)
    adapter = LoadT2IAdapter.execute(file.as_posix())[0]
    return ApplyT2IAdapter.execute(model, adapter, hint, strength=use.strength, weights=weights)[0]


def latent_for(studio: Any, variant: Variant, scenes: Any) -> dict[str, Tensor]:
    """Return the initial latent: empty, or the true pictures with a mask on their right half."""
    nodes = studio.nodes
    if variant.start == "noise":
        return nodes.EmptyLatentImage().generate(generate.SIZE, generate.SIZE, len(scenes))[0]
    mask = torch.zeros(1, generate.SIZE, generate.SIZE)
    mask[..., HALF:] = 1.0
    latent = nodes.VAEEncode().encode(studio.vae, measure.truth(scenes))[0]
    return nodes.SetLatentNoiseMask().set_mask(latent, mask)[0]
