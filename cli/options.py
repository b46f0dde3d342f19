"""The options of the train command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

from ..adapter_models.conditions import IMAGE_CONDITIONS
from ..adapter_models.saving import FILE_DTYPES, FILE_LAYOUTS
from ..training.epochs import steps_of_epochs
from ..training.errors import TrainingError
from ..training.optimizers import OPTIMIZERS, optimizer_named
from ..training.schedules import LR_SCHEDULES
from ..training.settings import PRECISIONS, Settings
from ..training.sizes import IMAGE_CHANNELS, SIZES
from ..training.timesteps import TIMESTEP_SAMPLINGS
from ..training.trackers import TRACKERS
from .data_options import DATA as _DATA
from .data_options import DataOptions
from .option_rows import Option, flag
from .parsing import Command, read_options
from .settings_file import WRITTEN

AUTO_ANNOTATOR = "auto"
# Annotators besides those that the published adapters were trained with, which are named after their conditions.
MORE_ANNOTATORS = ("clean-sketch", "soft-edge")
# Headings of the help.
_ADAPTER, _TRAINING = "adapter", "training"
_RANDOMNESS, _VALIDATION, _OUTPUT = "randomness", "validation", "output"
_STEPS = 10000
# A setting without an option: the largest norm of a gradient, where --clip is a text encoder.
_OTHER_CLIP = "clip"
_EXAMPLE = """example:
  python custom_nodes/ComfyUI-T2I-Adapter/cli train --checkpoint v1-5-pruned-emaonly.safetensors \\
      --data pictures --condition canny --name my_canny --steps 20000
several GPUs: --processes 4. On several machines, put `accelerate launch …` in place of python, and cli/__main__.py for
cli.
To resume an interrupted run, repeat its command. More in docs/training.md of the pack's repository."""


@dataclass(frozen=True, kw_only=True)
class Options(DataOptions):
    """What the user chooses; each field is an option of the command."""

    checkpoint: Annotated[
        str | None,
        Option(
            _DATA,
            "diffusion model: a file, a name in ComfyUI's models/checkpoints, or a folder as diffusers writes it",
            path=True,
        ),
    ] = None
    unet: Annotated[
        str | None,
        Option(
            _DATA, "in place of --checkpoint, with --clip and --vae: a file, or a name in diffusion_models", path=True
        ),
    ] = None
    clip: Annotated[
        tuple[str, ...],
        Option(
            _DATA, "text encoder for --unet, two for SDXL: files, or names in text_encoders", metavar="FILE", path=True
        ),
    ] = ()
    vae: Annotated[
        str | None,
        Option(_DATA, "VAE for --unet, or in place of the checkpoint's: a file, or a name in models/vae", path=True),
    ] = None
    data: Annotated[
        tuple[str, ...],
        Option(
            _DATA,
            "folders of pictures or tar shards, parquet files, or shards such as 'shards/{000..123}.tar'. A picture "
            "cat.png has its caption in cat.txt, cat.caption or cat.json, and may have a condition map "
            "conditions/cat.png or cat.cond.png",
            metavar="PATH",
            path=True,
        ),
    ]
    condition: Annotated[
        str | None,
        Option(
            _DATA,
            "what the condition maps show; stored in the adapter's file, and selects the annotator",
            choices=IMAGE_CONDITIONS,
        ),
    ] = None
    annotator: Annotated[
        str,
        Option(
            _DATA,
            "annotator for pictures without a map; canny, color, recolor and clean-sketch (for drawings) need no "
            "weights. auto (default): the one that published adapters of the condition were trained with",
            choices=(AUTO_ANNOTATOR, *IMAGE_CONDITIONS, *MORE_ANNOTATORS),
        ),
    ] = AUTO_ANNOTATOR
    annotator_file: Annotated[
        Path | None,
        Option(
            _DATA,
            "weights of the annotator: a file, or 'download' to fetch missing ones; default: the matching file in "
            "models/annotators",
        ),
    ] = None
    prompt_weights: Annotated[
        bool,
        Option(
            _DATA,
            "read captions in the syntax of CLIP Text Encode: (word:1.2) weights a word, \\( is a parenthesis, "
            "embedding:name loads an embedding; default: captions are literal text",
        ),
    ] = False
    resolution: Annotated[
        int,
        Option(
            _DATA,
            "crop pictures to about the area of a square with this side, in multiples of 64; default 512; use 1024 for "
            "SDXL",
        ),
    ] = 512
    cache: Annotated[
        Path | None,
        Option(
            _DATA,
            "folder of the prepared pictures, which runs and data sets share; default: cache beside the run's folder",
        ),
    ] = None
    allow_new_data: Annotated[
        bool, Option(_DATA, "let a run continue with other samples than it began with, such as a larger data set")
    ] = False
    adapter: Annotated[Path | None, Option(_ADAPTER, "adapter file to train further; default: a new adapter")] = None
    start_from: Annotated[
        Path | None,
        Option(
            _ADAPTER,
            "adapter file of the same size whose weights the new adapter starts with; its image channels may differ",
        ),
    ] = None
    size: Annotated[
        str,
        Option(
            _ADAPTER,
            "size of a new adapter: base (default, 77 million weights), small (18) or tiny (5)",
            choices=tuple(row.name for row in SIZES),
        ),
    ] = SIZES[0].name
    image_channels: Annotated[
        int,
        Option(
            _ADAPTER,
            "image channels of a new adapter: 3 (default) for colours, 1 for lines and other gray maps",
            choices=IMAGE_CHANNELS,
        ),
    ] = IMAGE_CHANNELS[0]
    steps: Annotated[
        int | None, Option(_TRAINING, "total steps; default 10000; a finished run can be continued with more")
    ] = None
    epochs: Annotated[
        float | None, Option(_TRAINING, "in place of --steps: how often to train on each picture; may be a fraction")
    ] = None
    batch_size: Annotated[
        int, Option(_TRAINING, "pictures per batch in each process; default 4; larger batches need more memory")
    ] = 4
    gradient_accumulation: Annotated[
        int,
        Option(
            _TRAINING,
            "batches per step; default 1; 4 acts like a batch size four times as large, in the memory of one batch",
            metavar="BATCHES",
        ),
    ] = 1
    learning_rate: Annotated[
        float | None,
        Option(
            _TRAINING,
            "default 1e-5, as in the paper; 1 for prodigy, which finds its own and multiplies it by this; 1e-3 for "
            "adafactor, which multiplies it by the size of the weights",
        ),
    ] = None
    lr_scheduler: Annotated[
        str,
        Option(
            _TRAINING,
            "course of the learning rate: constant (default), cosine or linear, which fall to 0 at the last step",
            choices=tuple(row.name for row in LR_SCHEDULES),
        ),
    ] = LR_SCHEDULES[0].name
    lr_warmup_steps: Annotated[
        int,
        Option(_TRAINING, "steps in which the learning rate rises from 0; default 0", metavar="STEPS", least=0),
    ] = 0
    optimizer: Annotated[
        str,
        Option(
            _TRAINING,
            "adamw (default); adamw8bit needs less memory and the package bitsandbytes, prodigy finds its learning "
            "rate and needs prodigyopt, adafactor needs the least memory",
            choices=tuple(row.name for row in OPTIMIZERS),
        ),
    ] = OPTIMIZERS[0].name
    precision: Annotated[
        str | None,
        Option(
            _TRAINING,
            "precision that the adapter computes in; fp32 (default) is the safest, bf16 is faster on newer GPUs, fp16 "
            "on older ones; accelerate launch --mixed_precision sets it too",
            choices=tuple(row.name for row in PRECISIONS),
        ),
    ] = None
    gradient_checkpointing: Annotated[
        bool, Option(_TRAINING, "use much less memory and a third more time, for the same result")
    ] = False
    ema: Annotated[
        float, Option(_TRAINING, "decay of a moving average of the weights, which becomes the result; default 0, off")
    ] = 0.0
    timesteps: Annotated[
        str,
        Option(
            _RANDOMNESS,
            "timesteps to train on: cubic (default, as in the paper), uniform for fine lines, late for colours",
            choices=tuple(row.name for row in TIMESTEP_SAMPLINGS),
        ),
    ] = TIMESTEP_SAMPLINGS[0].name
    prompt_dropout: Annotated[
        float, Option(_RANDOMNESS, "fraction of pictures trained without their prompt; default 0")
    ] = 0.0
    condition_dropout: Annotated[
        float, Option(_RANDOMNESS, "fraction of pictures trained with a black map; default 0")
    ] = 0.0
    seed: Annotated[int, Option(_RANDOMNESS, "seed of the noise, the order and all random choices; default 0")] = 0
    held_out_share: Annotated[
        float,
        Option(
            _VALIDATION,
            "fraction of the data set that never trains and measures the held-out loss; default 0. A sample's name "
            "decides, so that the same samples are held out in every run",
            metavar="SHARE",
            least=0,
        ),
    ] = 0.0
    validation_image: Annotated[
        tuple[Path, ...],
        Option(
            _VALIDATION,
            "condition images to make pictures with during training, without and with the adapter, in the folder "
            "validation of the run",
            metavar="FILE",
        ),
    ] = ()
    validation_prompt: Annotated[
        tuple[str, ...],
        Option(
            _VALIDATION,
            "prompts of these pictures: one for each image, or one for all; one image may have several prompts",
            metavar="PROMPT",
        ),
    ] = ()
    validate_every: Annotated[
        int,
        Option(
            _VALIDATION, "steps between validations; default 500; 0 validates only at the end", metavar="STEPS", least=0
        ),
    ] = 500
    report_to: Annotated[
        tuple[str, ...],
        Option(
            _VALIDATION,
            "also report losses and pictures to tensorboard (files in the run's folder) or wandb (Weights & Biases); "
            "needs accelerate and the package of that name. log.jsonl in the run's folder always has the losses",
            choices=tuple(row.name for row in TRACKERS),
        ),
    ] = ()
    name: Annotated[str, Option(_OUTPUT, "name of the adapter and of the run's folder; default my_adapter")] = (
        "my_adapter"
    )
    output: Annotated[
        Path | None, Option(_OUTPUT, "folder for the run's folder; default: t2i_adapters in ComfyUI's output folder")
    ] = None
    save_every: Annotated[
        int,
        Option(_OUTPUT, "steps between checkpoints; default 500; 0 saves only at the end", metavar="STEPS", least=0),
    ] = 500
    keep_checkpoints: Annotated[
        int | None,
        Option(_OUTPUT, "adapters at checkpoints to keep, the newest; default: all", metavar="COUNT", least=1),
    ] = None
    format: Annotated[
        str,
        Option(
            _OUTPUT,
            "format of the finished adapter: original (default), one file that every program reads, or a diffusers "
            "folder",
            choices=tuple(row.name for row in FILE_LAYOUTS),
        ),
    ] = FILE_LAYOUTS[0].name
    dtype: Annotated[
        str, Option(_OUTPUT, "precision of the finished adapter's file; default fp32", choices=tuple(FILE_DTYPES))
    ] = next(iter(FILE_DTYPES))
    comfyui: Annotated[
        str | None,
        Option(
            _OUTPUT, "ComfyUI's folder; default: COMFYUI_PATH, or the ComfyUI that this pack is installed in", path=True
        ),
    ] = None
    processes: Annotated[
        int,
        Option(_OUTPUT, "processes on this machine, one per GPU; default 1; more need the package accelerate", least=1),
    ] = 1
    cpu: Annotated[bool, Option(_OUTPUT, "compute on the CPU even if there is a GPU")] = False

    def settings(self, processes: int, samples: int = 0) -> Settings:
        """Return the training settings.

        Args:
            processes: Number of processes; each has a batch of its own.
            samples: Number of samples, which determines the steps if the user has chosen epochs.

        Raises:
            TrainingError: Both steps and epochs are given, or epochs is out of range.
        """
        names = [field.name for field in fields(Settings) if field.name != _OTHER_CLIP]
        chosen = {name: getattr(self, name, None) for name in names}
        given = {name: value for name, value in chosen.items() if value is not None}
        batch = self.batch_size * processes
        rate = optimizer_named(self.optimizer).learning_rate
        settings = Settings(**{"learning_rate": rate, "steps": _STEPS, **given, "batch_size": batch})
        if self.epochs is None:
            return settings
        if self.steps is not None:
            raise TrainingError(
                "epochs", "--steps too", "one of them", "Omit one.", says="--steps and --epochs exclude each other."
            )
        return replace(settings, steps=steps_of_epochs(self.epochs, samples, settings))


# Options by the names of their fields, which are also the libraries' parameters.
FLAGS = {field.name: flag(field.name) for field in fields(Options)}


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line.

    Args:
        arguments: The words after ``train``.

    Returns:
        The options; ends the process with a message if they are wrong, and after ``--help``.

    Raises:
        PackError: The file of settings can't be read.
    """
    description = "Train a T2I-Adapter for a checkpoint of SD1.x, SD2.x or SDXL."
    command = Command("cli train", description, _EXAMPLE, f"{WRITTEN} in a run's folder")
    return read_options(Options, command, arguments)
