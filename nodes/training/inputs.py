"""The inputs of Train T2I-Adapter. Saved workflows contain their ids and order: append, never rename or reorder."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ...training.schedules import LR_SCHEDULES
from ...training.settings import PRECISIONS
from ...training.timesteps import TIMESTEP_SAMPLINGS
from ..sockets import T2IAdapterSocket

# As large as ComfyUI's own seeds.
LARGEST_SEED = 0xFFFFFFFFFFFFFFFF


def training_inputs() -> list[Any]:
    """Return the inputs in schema order."""
    return [
        *_materials(),
        *_schedule(),
        *_chances(),
        *_technique(),
        *_files(),
        _empty(),
        *_since_then(),
        *_validation(),
        *_learning_rate(),
    ]


def seed_input(tooltip: str) -> Any:
    """Return a seed input, which is advanced: few change it."""
    # No "control after generate": a run with another seed is another run, which can't be resumed.
    return io.Int.Input(
        "seed", default=0, min=0, max=LARGEST_SEED, control_after_generate=False, advanced=True, tooltip=tooltip
    )


def _materials() -> list[Any]:
    return [
        io.Model.Input(
            "model", tooltip="The diffusion model, without adapters; it is not changed. Its LoRAs take part."
        ),
        T2IAdapterSocket.Input("adapter", tooltip="From Create T2I-Adapter; a loaded one is trained further."),
        io.Latent.Input(
            "latents", tooltip="The training pictures from VAE Encode: a batch or a list, all of one size."
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
            tooltip="Total training steps, default 1000. With more, pictures follow the condition more closely. Raise "
            "it later to continue a finished run.",
        ),
        io.Int.Input(
            "batch_size",
            default=4,
            min=1,
            max=1024,
            tooltip="Pictures per batch, default 4. Larger batches make training steadier and need more memory.",
        ),
        io.Float.Input(
            "learning_rate",
            default=1e-5,
            min=1e-8,
            max=1.0,
            step=1e-7,
            tooltip="Learning rate of AdamW, default 1e-5 as in the paper. Higher learns faster; too high diverges.",
        ),
        io.Combo.Input(
            "timesteps",
            advanced=True,
            options=[row.name for row in TIMESTEP_SAMPLINGS],
            default="cubic",
            tooltip="Timesteps to train on. cubic (default): mostly noisy ones, which decide the composition, as in "
            "the paper. uniform: all equally, for fine lines. late: the noisy half only, for "
            "colours. logit-normal: mostly the middle, usual for transformers such as Flux.",
        ),
    ]


def _chances() -> list[Any]:
    part = {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.01}
    return [
        io.Float.Input(
            "prompt_dropout",
            advanced=True,
            **part,
            tooltip="Fraction of examples trained without their prompt, 0 (default) to 1. 0.5 makes pictures follow "
            "the condition image even with a vague prompt. Needs empty.",
        ),
        io.Float.Input(
            "condition_dropout",
            advanced=True,
            **part,
            tooltip="Fraction of examples trained with a black condition image, 0 (default) to 1. About 0.1 teaches "
            "the adapter to change nothing for an empty condition image.",
        ),
    ]


def _technique() -> list[Any]:
    return [
        io.Float.Input(
            "ema",
            advanced=True,
            default=0.0,
            min=0.0,
            max=0.99999,
            step=0.0001,
            tooltip="Decay of a moving average of the weights, which becomes the result: steadier pictures in long "
            "runs. 0 (default): off. 0.999 suits a few thousand steps.",
        ),
        io.Int.Input(
            "gradient_accumulation",
            advanced=True,
            default=1,
            min=1,
            max=1024,
            tooltip="Batches per step, default 1. 4 acts like a batch size four times as large, in the memory of "
            "one batch.",
        ),
        io.Combo.Input(
            "precision",
            advanced=True,
            options=[row.name for row in PRECISIONS],
            default="fp32",
            tooltip="Precision that the adapter computes in; its weights stay fp32. bf16 is faster on newer GPUs, fp16 "
            "on older ones. fp32 (default) is the safest.",
        ),
        seed_input("Seed of the noise, the order and all random choices, default 0. Equal seeds give equal adapters."),
    ]


def _files() -> list[Any]:
    return [
        io.Int.Input(
            "save_every",
            advanced=True,
            default=500,
            min=0,
            max=10_000_000,
            tooltip="Steps between checkpoints, default 500. Each one also saves an adapter file. 0: only at the end.",
        ),
        io.String.Input(
            "run_name",
            default="my_adapter",
            tooltip="Folder in output/t2i_adapters, default my_adapter. An interrupted run with the same name and "
            "settings resumes exactly where it stopped.",
        ),
    ]


def _empty() -> Any:
    return io.Conditioning.Input(
        "empty",
        optional=True,
        tooltip="An empty prompt from CLIP Text Encode, which replaces the prompts that prompt_dropout drops.",
    )


def _since_then() -> list[Any]:
    # Optional, so that saved workflows without them stay valid.
    return [
        io.Boolean.Input(
            "gradient_checkpointing",
            advanced=True,
            default=False,
            optional=True,
            tooltip="Uses much less memory and about a third more time; the result is the same. Off by default. May be "
            "changed when a run is resumed.",
        ),
        io.Int.Input(
            "preview_every",
            default=0,
            min=0,
            max=10_000_000,
            optional=True,
            tooltip="Steps between previews on this node: the first condition image beside a picture made with the "
            "adapter so far. Each takes about as long as a few steps; the result is the same. 0 (default): none.",
        ),
    ]


def _validation() -> list[Any]:
    return [
        io.Float.Input(
            "held_out_share",
            default=0.0,
            min=0.0,
            max=0.9,
            step=0.01,
            optional=True,
            advanced=True,
            tooltip="Fraction of examples that never train, 0 (default) to 0.9. Their loss shows on this node and in "
            "log.jsonl in the run's folder: training is long enough when it no longer falls. Previews show the first "
            "of them.",
        ),
        io.Int.Input(
            "validate_every",
            default=100,
            min=0,
            max=10_000_000,
            optional=True,
            advanced=True,
            tooltip="Steps between measurements of the loss of held-out examples, default 100. 0: only at the end. The "
            "trained adapter is the same.",
        ),
    ]


def _learning_rate() -> list[Any]:
    return [
        io.Combo.Input(
            "lr_scheduler",
            options=[row.name for row in LR_SCHEDULES],
            default="constant",
            optional=True,
            advanced=True,
            tooltip="Course of the learning rate. constant (default). cosine and linear fall to 0 at the last step, "
            "which gives steadier pictures; the number of steps can't be raised afterwards.",
        ),
        io.Int.Input(
            "lr_warmup_steps",
            default=0,
            min=0,
            max=10_000_000,
            optional=True,
            advanced=True,
            tooltip="Steps in which the learning rate rises to its full value, default 0. A few hundred make the "
            "beginning of a training with a high learning rate steadier.",
        ),
    ]
