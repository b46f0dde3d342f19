"""Read the values of Train T2I-Adapter's inputs: every input arrives as a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...adapter_models.errors import AdapterError
from ...training.errors import TrainingError
from ..inputs import read_input, shown
from .frozen_denoiser import TRAIN_NODE
from .inputs import training_inputs

# Training data: every entry counts. Of all other inputs, only the first does.
MATERIALS = ("latents", "images", "positive")


def first_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first entry of each input list, checked against the schema.

    Args:
        given: Lists by input id.

    Returns:
        Values of all inputs except :data:`MATERIALS`, numbers as Python's int and float; defaults for absent inputs.

    Raises:
        TrainingError: A value is of another type, or an integer out of range.
    """
    values: dict[str, Any] = {}
    for row in training_inputs():
        if row.id in MATERIALS:
            continue
        default = getattr(row, "default", None)
        entries = given.get(row.id, (default,))
        value = _entries(row.id, entries)[0]
        if value is None and row.optional:
            values[row.id] = default
        else:
            values[row.id] = _read(row, value)
    return values


def check_materials(given: Mapping[str, Any]) -> None:
    """Check that the training data are lists of latents, images and prompts; sizes are checked later.

    Args:
        given: Lists by the ids in :data:`MATERIALS`.

    Raises:
        TrainingError: An entry is of another type.
    """
    rows = {row.id: row for row in training_inputs()}
    for name, entries in given.items():
        if not isinstance(entries, list | tuple):
            _entries(name, entries)
        for entry in entries:
            _read(rows[name], entry)
            if name == "latents" and not _is_latent(entry):
                raise TrainingError(
                    f"{TRAIN_NODE}, latents",
                    shown(entry),
                    "a LATENT with samples of numbers",
                    "Connect VAE Encode.",
                    says="The input latents holds something else than latents.",
                )


def _read(row: Any, value: Any) -> Any:
    try:
        read_value = read_input(f"{TRAIN_NODE}, {row.id}", row, value)
    except AdapterError as error:
        raise TrainingError(
            error.where,
            error.got,
            error.expected,
            error.fix,
            says=error.says or f"The input {row.id} has a wrong value.",
        ) from error
    return bool(read_value) if row.get_io_type() == "BOOLEAN" else read_value


def _entries(name: str, entries: Any) -> Sequence[Any]:
    if isinstance(entries, list | tuple) and entries:
        return entries
    raise TrainingError(
        f"{TRAIN_NODE}, {name}",
        "an empty list" if entries == [] else shown(entries),
        "a value",
        "Connect one, or enter it.",
        says=f"The input {name} has no value.",
    )


def _is_latent(value: Any) -> bool:
    samples = value.get("samples") if isinstance(value, Mapping) else None
    if not isinstance(samples, Tensor) or samples.layout != torch.strided or samples.device.type == "meta":
        return False
    return samples.is_floating_point()
