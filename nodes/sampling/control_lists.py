"""Residuals as ComfyUI's ``control`` argument: lists of tensors, taken by the UNet from the end."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...adapter_models.calls import Residuals
from ...adapter_models.errors import AdapterError

Control = Mapping[str, list[Tensor | None]]


def as_control(residuals: Residuals, rows: int, inputs: int) -> dict[str, list[Tensor | None]]:
    """Turn residuals into a control.

    Args:
        residuals: By site, (K, R, C, h, w) as of :meth:`ResidualComputer.residuals`.
        rows: Rows of the UNet's call: prompts times pictures.
        inputs: Length of the list for the input blocks, at least that of the blocks up to the last site.

    Returns:
        Lists of None and of (1 or rows, C, h, w); the UNet takes the last entry first.
    """
    flat = {site: flat_residual(residual, rows) for site, residual in residuals.items()}
    return {
        "input": [flat.get(("input", index)) for index in reversed(range(inputs))],
        "middle": [flat.get(("middle", 0))],
        "output": [],
    }


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
    """Add up two controls. Lists are aligned at their ends, since the UNet takes the last entry first.

    Raises:
        AdapterError: They can't be added at a block: the other control was made for another UNet or batch.
    """
    merged = {key: list(values) for key, values in own.items()}
    for key, before in (previous or {}).items():
        length = max(len(before), len(own.get(key, ())))
        pairs = zip(_padded(own.get(key, []), length), _padded(before, length), strict=True)
        merged[key] = [a if b is None else b if a is None else _sum(a, b) for a, b in pairs]
    return merged


def _sum(own: Tensor, previous: Tensor) -> Tensor:
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


def _padded(values: list[Tensor | None], length: int) -> list[Tensor | None]:
    return [None] * (length - len(values)) + values
