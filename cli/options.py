"""The command's options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..adapter_models.conditions import IMAGE_CONDITIONS
from ..adapter_models.saving import FILE_DTYPES, FILE_LAYOUTS
from ..training.settings import PRECISIONS, Settings
from ..training.sizes import IMAGE_CHANNELS, SIZES
from ..training.timesteps import TIME_SAMPLINGS

AUTO = "auto"
# Beside those that the published adapters were trained with, which have the names of their conditions.
MORE_ANNOTATORS = ("clean-sketch", "soft-edge")
EXAMPLE = """example:
  python custom_nodes/ComfyUI-T2I-Adapter/cli train --checkpoint v1-5-pruned-emaonly.safetensors \\
      --data pictures --condition canny --name my_canny --steps 20000
several GPUs: the same after `accelerate launch --multi_gpu --num_processes 4`, with cli/__main__.py for cli.
The same command again goes on where it stopped. More in docs/training.md of the pack's repository."""


@dataclass(frozen=True)
class Options:
    """What the user asks for; see :func:`parse` for each."""

    checkpoint: str
    data: tuple[str, ...]
    condition: str | None
    annotator: str
    annotator_file: Path | None
    adapter: Path | None
    start_from: Path | None
    size: str
    image_channels: int
    resolution: int
    steps: int
    batch_size: int
    learning_rate: float
    timesteps: str
    prompt_dropout: float
    condition_dropout: float
    ema: float
    gradient_accumulation: int
    precision: str
    gradient_checkpointing: bool
    seed: int
    name: str
    output: Path | None
    save_every: int
    format: str
    dtype: str
    comfyui: str | None
    cpu: bool
    prompt_weights: bool = False

    def settings(self, processes: int) -> Settings:
        """Return how the adapter is trained.

        Args:
            processes: How many there are; each has a batch of its own.
        """
        return Settings(
            self.steps,
            self.batch_size * processes,
            self.learning_rate,
            self.timesteps,
            self.prompt_dropout,
            self.condition_dropout,
            self.ema,
            self.gradient_accumulation,
            self.precision,
            self.seed,
            gradient_checkpointing=self.gradient_checkpointing,
        )


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line.

    Args:
        arguments: All after the program's name.

    Returns:
        The options; the process ends with a message where they are wrong, and after ``--help``.
    """
    parser = argparse.ArgumentParser(
        prog="cli train",
        description="Train a T2I-Adapter for a checkpoint of SD1.x, SD2.x or SDXL.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for add in (_add_data, _add_adapter, _add_schedule, _add_chances, _add_files):
        add(parser)
    values = vars(parser.parse_args(list(arguments)))
    return Options(**{**values, "data": tuple(values["data"])})


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to learn from")
    group.add_argument(
        "--checkpoint", required=True, help="the diffusion model: a file, or a name in ComfyUI's models/checkpoints"
    )
    group.add_argument(
        "--data",
        required=True,
        nargs="+",
        metavar="PLACE",
        help="folders of pictures or of tar shards, or shards such as 'shards/{000..123}.tar'; beside cat.png a "
        "caption cat.txt, cat.caption or cat.json, and perhaps a condition map conditions/cat.png or cat.cond.png",
    )
    group.add_argument(
        "--condition",
        choices=IMAGE_CONDITIONS,
        help="what the condition maps show; written into the adapter's file, and decides the annotator",
    )
    group.add_argument(
        "--annotator",
        default=AUTO,
        choices=(AUTO, *IMAGE_CONDITIONS, *MORE_ANNOTATORS),
        help="what draws maps for pictures without one; canny, color, recolor and clean-sketch (drawings) need no "
        "weights. auto (default): what published adapters of the condition were trained with",
    )
    group.add_argument(
        "--annotator-file", type=Path, help="its weights; default: the file in models/annotators that fits"
    )
    group.add_argument(
        "--prompt-weights",
        action="store_true",
        help="read captions as CLIP Text Encode reads prompts: (word:1.2) weighs, \\( is a parenthesis, embedding:name "
        "is a file; default: captions are literal text",
    )
    group.add_argument(
        "--resolution",
        type=int,
        default=512,
        help="pictures are cropped to sizes of about the area of this square, in multiples of 64; default 512, take "
        "1024 for SDXL",
    )


def _add_adapter(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to train")
    group.add_argument("--adapter", type=Path, help="an adapter file to train further; default: a new adapter")
    group.add_argument(
        "--start-from",
        type=Path,
        help="an adapter file of the same size whose weights a new adapter begins with; its channels may differ",
    )
    group.add_argument(
        "--size",
        default=SIZES[0].name,
        choices=[row.name for row in SIZES],
        help="of a new adapter: base (default, 77 million weights), small (18) or tiny (5)",
    )
    group.add_argument(
        "--image-channels",
        type=int,
        default=IMAGE_CHANNELS[0],
        choices=IMAGE_CHANNELS,
        help="of a new adapter: 3 (default) for colours, 1 for lines and other gray maps",
    )


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to train")
    group.add_argument("--steps", type=int, default=10000, help="in all; default 10000; may be raised later")
    group.add_argument(
        "--batch-size", type=int, default=4, help="pictures at a time in each process; default 4; more needs memory"
    )
    group.add_argument(
        "--gradient-accumulation",
        type=int,
        default=1,
        metavar="BATCHES",
        help="batches in a step; default 1; 4 acts like four times the batch size in the memory of one",
    )
    group.add_argument("--learning-rate", type=float, default=1e-5, help="default 1e-5, as in the paper")
    group.add_argument(
        "--precision",
        default=PRECISIONS[0].name,
        choices=[row.name for row in PRECISIONS],
        help="what the adapter computes in; fp32 (default) is the surest, bf16 quicker on newer GPUs, fp16 on older",
    )
    group.add_argument(
        "--gradient-checkpointing",
        action="store_true",
        help="needs much less memory and a third more time, for the same result",
    )
    group.add_argument(
        "--ema", type=float, default=0.0, help="decay of a moving average, which is then the result; default 0, off"
    )


def _add_chances(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what chance decides")
    group.add_argument(
        "--timesteps",
        default=TIME_SAMPLINGS[0].name,
        choices=[row.name for row in TIME_SAMPLINGS],
        help="where in the noise it learns: cubic (default, as in the paper), uniform for fine lines, late for colours",
    )
    group.add_argument(
        "--prompt-dropout", type=float, default=0.0, help="part of the pictures learned without prompt; default 0"
    )
    group.add_argument(
        "--condition-dropout", type=float, default=0.0, help="part of the pictures with a black map; default 0"
    )
    group.add_argument("--seed", type=int, default=0, help="decides noise, order and chances; default 0")


def _add_files(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to write")
    group.add_argument("--name", default="my_adapter", help="of the run's folder and the adapter; default my_adapter")
    group.add_argument(
        "--output", type=Path, help="folder of the run's folder; default: t2i_adapters in ComfyUI's output folder"
    )
    group.add_argument(
        "--save-every", type=int, default=500, metavar="STEPS", help="steps between checkpoints; default 500"
    )
    group.add_argument(
        "--format",
        default=FILE_LAYOUTS[0].name,
        choices=[row.name for row in FILE_LAYOUTS],
        help="of the finished adapter: original (default), one file that every program takes, or a diffusers folder",
    )
    group.add_argument(
        "--dtype",
        default=next(iter(FILE_DTYPES)),
        choices=tuple(FILE_DTYPES),
        help="precision of that file; default fp32",
    )
    group.add_argument("--comfyui", help="ComfyUI's folder; default: COMFYUI_PATH, or the one that this pack lies in")
    group.add_argument("--cpu", action="store_true", help="compute on the CPU even where there is a GPU")
