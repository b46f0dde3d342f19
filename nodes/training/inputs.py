"""The inputs of Train T2I-Adapter. Their ids and order are part of saved workflows: append, never rename or reorder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...adapter_models.errors import AdapterError
from ...training.errors import TrainingError
from ...training.settings import PRECISIONS
from ...training.timesteps import TIME_SAMPLINGS
from ..inputs import read_input, shown
from ..sockets import T2IAdapterSocket
from .frozen_denoiser import WHERE

# Training data: every entry counts. Of all other inputs, only the first does.
MATERIALS = ("latents", "images", "positive")
# As large as ComfyUI's own seeds.
LARGEST_SEED = 0xFFFFFFFFFFFFFFFF


def training_inputs() -> list[Any]:
    """Return the inputs in schema order."""
    return [*_materials(), *_schedule(), *_chances(), *_technique(), *_files(), _empty(), *_since_then()]


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
                    f"{WHERE}, latents", shown(entry), "a LATENT with samples of numbers", "Connect VAE Encode."
                )


def _read(row: Any, value: Any) -> Any:
    try:
        read_value = read_input(f"{WHERE}, {row.id}", row, value)
    except AdapterError as error:
        raise TrainingError(error.where, error.got, error.expected, error.fix) from error
    return bool(read_value) if row.get_io_type() == "BOOLEAN" else read_value


def _entries(name: str, entries: Any) -> Sequence[Any]:
    if isinstance(entries, list | tuple) and entries:
        return entries
    raise TrainingError(
        f"{WHERE}, {name}", "an empty list" if entries == [] else shown(entries), "a value", "Connect one, or enter it."
    )


def _is_latent(value: Any) -> bool:
    samples = value.get("samples") if isinstance(value, Mapping) else None
    if not isinstance(samples, Tensor) or samples.layout != torch.strided or samples.device.type == "meta":
        return False
    return samples.is_floating_point()


def seed_input(tooltip: str) -> Any:
    """Return a seed input."""
    # No "control after generate": a run with another seed is another run, which can't be resumed.
    return io.Int.Input("seed", default=0, min=0, max=LARGEST_SEED, control_after_generate=False, tooltip=tooltip)


def _materials() -> list[Any]:
    return [
        io.Model.Input("model", tooltip="The diffusion model, without adapters. LoRAs in it count. It is not changed."),
        T2IAdapterSocket.Input("adapter", tooltip="From Create T2I-Adapter; a loaded one is trained further."),
        io.Latent.Input(
            "latents", tooltip="The pictures to learn from, from VAE Encode: a batch or a list, all of one size."
        ),
        io.Image.Input(
            "images",
            tooltip="Their condition images, one per latent in the same order, of the pictures' size.",
        ),
        io.Conditioning.Input(
            "positive", tooltip="Their prompts, one per latent in the same order, or one prompt for all."
        ),
    ]


def _schedule() -> list[Any]:
    return [
        io.Int.Input(
            "steps",
            default=1000,
            min=1,
            max=10_000_000,
            tooltip="Training steps in all, default 1000. More make pictures follow more closely. May be raised later: "
            "the run then goes on.",
        ),
        io.Int.Input(
            "batch_size",
            default=4,
            min=1,
            max=1024,
            tooltip="Pictures at a time, default 4. More make training steadier and need more memory.",
        ),
        io.Float.Input(
            "learning_rate",
            default=1e-5,
            min=1e-8,
            max=1.0,
            step=1e-7,
            tooltip="Length of a step, default 1e-5 as in the paper. Higher learns faster; too high gives noise.",
        ),
        io.Combo.Input(
            "timesteps",
            options=[row.name for row in TIME_SAMPLINGS],
            default="cubic",
            tooltip="Where in the noise it learns. cubic (default): mostly where the composition is decided, as in the "
            "paper. uniform: everywhere alike, for fine lines. late: noisy half only, for colours.",
        ),
    ]


def _chances() -> list[Any]:
    part = {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.01}
    return [
        io.Float.Input(
            "prompt_dropout",
            **part,
            tooltip="Part of the examples that are learned without their prompt, 0 (default) to 1. 0.5 makes pictures "
            "follow the condition image when the prompt says little. Needs empty.",
        ),
        io.Float.Input(
            "condition_dropout",
            **part,
            tooltip="Part of the examples that get a black condition image, 0 (default) to 1. About 0.1 teaches it to "
            "leave pictures alone where the condition image is empty.",
        ),
    ]


def _technique() -> list[Any]:
    return [
        io.Float.Input(
            "ema",
            default=0.0,
            min=0.0,
            max=0.99999,
            step=0.0001,
            tooltip="Decay of a moving average of the weights, which is then the result: steadier pictures in long "
            "runs. 0 (default): off. 0.999 suits some thousands of steps.",
        ),
        io.Int.Input(
            "gradient_accumulation",
            default=1,
            min=1,
            max=1024,
            tooltip="Batches in a step, default 1. 4 acts like four times the batch size in the memory of one.",
        ),
        io.Combo.Input(
            "precision",
            options=[row.name for row in PRECISIONS],
            default="fp32",
            tooltip="What the adapter computes in; its weights stay fp32. bf16 is quicker on newer GPUs, fp16 on older "
            "ones. fp32 (default) is the surest.",
        ),
        seed_input("Decides noise, order and chances, default 0. The same seed gives the same adapter."),
    ]


def _files() -> list[Any]:
    return [
        io.Int.Input(
            "save_every",
            default=500,
            min=0,
            max=10_000_000,
            tooltip="Steps between checkpoints, default 500. Each is also an adapter file to try. 0: only at the end.",
        ),
        io.String.Input(
            "run_name",
            default="my_adapter",
            tooltip="Folder in output/t2i_adapters, default my_adapter. An interrupted run of the same name and "
            "settings goes on exactly where it stopped.",
        ),
    ]


def _empty() -> Any:
    return io.Conditioning.Input(
        "empty",
        optional=True,
        tooltip="A prompt without text, from CLIP Text Encode. What prompt_dropout puts in the place of prompts.",
    )


def _since_then() -> list[Any]:
    # Optional, so that saved workflows without them stay valid.
    return [
        io.Boolean.Input(
            "gradient_checkpointing",
            default=False,
            optional=True,
            tooltip="Needs much less memory and about a third more time; the result is the same. Off by default. May "
            "be switched when a run goes on.",
        ),
        io.Int.Input(
            "preview_every",
            default=0,
            min=0,
            max=10_000_000,
            optional=True,
            tooltip="Steps between pictures on this node: the first condition image beside what the adapter makes of "
            "it so far. Each takes about as long as a few steps; the result is the same. 0 (default): none.",
        ),
    ]
