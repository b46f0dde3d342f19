"""Check the inputs of Apply T2I-Adapter: ComfyUI does not check values that come by a link."""

from __future__ import annotations

import torch
from torch import Tensor

from ...adapter_models.errors import AdapterError, HintError
from ...adapter_models.hint import FITS, check_hint
from ...common.checks import check_choice, check_finite
from .handed import APPLY_NODE


def checked_hint(image: Tensor) -> Tensor:
    """Return an IMAGE (B, H, W, C) as a hint (B, C, H, W).

    Raises:
        HintError: It is not a picture in [0, 1].
    """
    hint = image.movedim(-1, 1) if image.ndim == 4 else image
    check_hint(f"{APPLY_NODE}, image", hint)
    return hint


def checked_mask(mask: Tensor | None) -> Tensor | None:
    """Return a MASK as (M, H, W), or None for none.

    Raises:
        HintError: It is not a mask in [0, 1].
    """
    if mask is None:
        return None
    mask = mask.unsqueeze(0) if mask.ndim == 2 else mask
    if mask.ndim != 3 or 0 in mask.shape:
        raise HintError(
            f"{APPLY_NODE}, mask",
            f"shape {tuple(mask.shape)}",
            "a MASK (M, H, W) in [0, 1]",
            "Connect a node that makes masks.",
            says="The input mask takes a MASK, and this has another shape.",
        )
    if mask.dtype != torch.bool:
        check_hint(f"{APPLY_NODE}, mask", mask.unsqueeze(1))
    return mask


def check_settings(fit: str, **numbers: float) -> None:
    """Refuse settings without meaning.

    Args:
        fit: How the condition image is resized to the picture.
        numbers: ``strength``, ``start_percent`` and ``end_percent``.

    Raises:
        AdapterError: An unknown fit, a number that is not finite, or a start after the end.
    """
    for name, value in numbers.items():
        check_finite(f"{APPLY_NODE}, {name}", value, error=AdapterError)
    check_choice(f"{APPLY_NODE}, fit", fit, FITS, error=AdapterError)
    start, end = numbers["start_percent"], numbers["end_percent"]
    if start > end:
        raise AdapterError(
            APPLY_NODE,
            f"start_percent {start} after end_percent {end}",
            "start before end",
            "Swap them.",
            says="The adapter ends before it starts.",
        )
