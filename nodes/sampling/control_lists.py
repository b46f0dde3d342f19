"""Residuals as ComfyUI's ``control`` argument: lists of tensors, which UNets take from the end.

Transformers take theirs from the start, and rows of tokens instead of feature maps.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from ...adapter_models.calls import Residuals
from ...adapter_models.errors import AdapterError

Control = Mapping[str, list[Tensor | None]]


def as_control(residuals: Residuals, rows: int, inputs: int) -> dict[str, list[Tensor | None]]:
    """Turn residuals into a control.

    Args:
        residuals: By site, (K, R, C, h, w) as of :meth:`ResidualComputer.residuals`.
        rows: Rows of the UNet's call: prompts times pictures.
        inputs: Length of the list for the input blocks, at least that of the blocks up to the last site; unused for
            transformers.

    Returns:
        Lists of None and of (1 or rows, C, h, w), from which the UNet takes the last entry first. For transformers one
        list of None and of (1 or rows, h · w, C), from which they take the first entry first.
    """
    flat = {site: flat_residual(residual, rows) for site, residual in residuals.items()}
    if for_tokens(residuals):
        last = max(index for _, index in flat)
        found = (flat.get(("tokens", index)) for index in range(last + 1))
        return {"input": [None if each is None else as_tokens(each) for each in found], "output": []}
    return {
        "input": [flat.get(("input", index)) for index in reversed(range(inputs))],
        "middle": [flat.get(("middle", 0))],
        "output": [],
    }


def for_tokens(residuals: Residuals) -> bool:
    """Tell whether residuals are for a transformer that reads ``control``."""
    return any(part == "tokens" for part, _ in residuals)


def as_tokens(level: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h · w, C), row by row, as every known transformer orders its image tokens."""
    return level.flatten(2).transpose(1, 2)


def inputs_of(residuals: Residuals) -> int:
    """Return the number of input blocks up to the last that has a residual."""
    return 1 + max((index for kind, index in residuals if kind == "input"), default=-1)


def flat_residual(residual: Tensor, rows: int) -> Tensor:
    """(K, R, C, h, w) -> (1 or rows, C, h, w)."""
    chunks, pictures = residual.shape[:2]
    if chunks == 1 and pictures == 1:
        return residual[0]
    repeats = (rows // pictures, pictures) if chunks == 1 else (chunks, rows // chunks)
    return residual.expand(*repeats, -1, -1, -1).flatten(0, 1)


def merge(own: Control, previous: Control | None) -> dict[str, list[Tensor | None]]:
    """Add up two controls. Lists are aligned at the ends that the model takes first: a UNet the last entry.

    Raises:
        AdapterError: They can't be added at a block: the other control was made for another UNet or batch.
    """
    merged = {key: list(values) for key, values in own.items()}
    tokens = any(each is not None and each.ndim == 3 for values in own.values() for each in values)
    for key, before in (previous or {}).items():
        length = max(len(before), len(own.get(key, ())))
        pairs = zip(_padded(own.get(key, []), length, tokens), _padded(before, length, tokens), strict=True)
        merged[key] = [a if b is None else b if a is None else _sum(a, b) for a, b in pairs]
    return merged


def _sum(own: Tensor, previous: Tensor) -> Tensor:
    if own.ndim == previous.ndim == 3 and own.shape[1] != previous.shape[1]:
        # A control of reference pictures too has more tokens than the picture that is made.
        longer, shorter = (previous, own) if previous.shape[1] > own.shape[1] else (own, previous)
        shorter = functional.pad(shorter, (0, 0, 0, longer.shape[1] - shorter.shape[1]))
        own, previous = shorter, longer
    try:
        torch.broadcast_shapes(own.shape, previous.shape)
    except RuntimeError as error:
        raise AdapterError(
            "ControlNet beside a T2I-Adapter",
            f"feature maps {tuple(previous.shape)} where ours are {tuple(own.shape)} (rows, channels, height, width)",
            "a ControlNet or T2I-Adapter that was made for this model, with one image or as many as the batch",
            "Remove that other one, or load one for the model's own family.",
            says="Another ControlNet or T2I-Adapter beside this one does not fit the model.",
        ) from error
    return previous + own


def _padded(values: list[Tensor | None], length: int, at_end: bool) -> list[Tensor | None]:
    missing: list[Tensor | None] = [None] * (length - len(values))
    return [*values, *missing] if at_end else [*missing, *values]
