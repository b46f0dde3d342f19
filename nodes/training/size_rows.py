"""The sizes that SDXL is told with each prompt, as ComfyUI's model encodes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...training.framing import Framing
from .frozen_denoiser import prompt_rows

# The denoiser's argument that has the pooled prompt, and after it the sizes.
VECTOR = "y"


def size_rows(model: Any, conditioning: Sequence[Any], framing: Framing) -> dict[str, Tensor]:
    """Encode the sizes of a picture.

    Args:
        model: The MODEL.
        conditioning: Any prompt of its text encoder, as ComfyUI's list of (embedding, extras).
        framing: The picture's original size and crop.

    Returns:
        The last columns (1, width) of the prompt arguments that tell sizes; empty for SD1.x and SD2.x.
    """
    embedding, extras = conditioning[0]
    pooled = extras.get("pooled_output")
    told = {
        **dict(zip(("height", "width"), framing.original, strict=True)),
        **dict(zip(("crop_h", "crop_w"), framing.corner, strict=True)),
        **dict(zip(("target_height", "target_width"), framing.target, strict=True)),
    }
    rows = prompt_rows(model, [[embedding, {**extras, **told}]], torch.zeros(1, 4, 8, 8))
    if pooled is None or VECTOR not in rows:
        return {}
    last = rows[VECTOR][:, pooled.shape[-1] :]
    return {VECTOR: last} if last.shape[-1] else {}
