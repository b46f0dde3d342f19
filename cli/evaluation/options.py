"""The options of the evaluate command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ...adapter_models.conditions import IMAGE_CONDITIONS
from ..option_rows import Option
from ..options import AUTO_ANNOTATOR, MORE_ANNOTATORS
from ..parsing import Command, read_options
from ..settings_file import WRITTEN

# Headings of the help.
_MODEL, _ADAPTERS, _SAMPLES, _PICTURES = "diffusion model", "adapters", "held-out samples", "pictures"
_MEASURES, _RESULT = "measures", "output"
_EXAMPLE = """example:
  python custom_nodes/ComfyUI-T2I-Adapter/cli evaluate --checkpoint v1-5-pruned-emaonly.safetensors \\
      --adapter my_seg.safetensors --data coco_val --condition segmentation --samples 5000
several GPUs: put `accelerate launch --multi_gpu --num_processes 4` in place of python, and cli/__main__.py for cli.
Repeat the command to continue. More in docs/training.md of the pack's repository."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What the user chooses; each field is an option of the command."""

    checkpoint: Annotated[
        str | None,
        Option(
            _MODEL,
            "diffusion model: a file, a name in ComfyUI's models/checkpoints, or a folder as diffusers writes it",
            path=True,
        ),
    ] = None
    unet: Annotated[
        str | None,
        Option(
            _MODEL, "in place of --checkpoint, with --clip and --vae: a file, or a name in diffusion_models", path=True
        ),
    ] = None
    clip: Annotated[
        tuple[str, ...],
        Option(
            _MODEL, "text encoder for --unet, two for SDXL: files, or names in text_encoders", metavar="FILE", path=True
        ),
    ] = ()
    vae: Annotated[
        str | None,
        Option(_MODEL, "VAE for --unet, or in place of the checkpoint's: a file, or a name in models/vae", path=True),
    ] = None
    adapter: Annotated[Path, Option(_ADAPTERS, "adapter to evaluate: a file or a diffusers folder; or a ControlNet")]
    compare: Annotated[
        tuple[Path, ...],
        Option(_ADAPTERS, "other adapters or ControlNets of the same condition, in the same table", metavar="FILE"),
    ] = ()
    strength: Annotated[float, Option(_ADAPTERS, "strength of the adapters; default 1")] = 1.0
    data: Annotated[
        tuple[str, ...],
        Option(
            _SAMPLES,
            "pictures with captions and perhaps maps that no adapter was trained on, in the layouts of train --data",
            metavar="PATH",
            path=True,
        ),
    ]
    condition: Annotated[
        str | None,
        Option(
            _SAMPLES,
            "what the maps show; selects the annotator and the measures; default: what the adapter's file says",
            choices=IMAGE_CONDITIONS,
        ),
    ] = None
    samples: Annotated[
        int | None, Option(_SAMPLES, "number of samples, from the first one on; default: all", least=2)
    ] = None
    annotator: Annotated[
        str,
        Option(
            _SAMPLES,
            "annotator for pictures without a map, and for the pictures that are made; auto (default): the one that "
            "published adapters of the condition were trained with",
            choices=(AUTO_ANNOTATOR, *IMAGE_CONDITIONS, *MORE_ANNOTATORS),
        ),
    ] = AUTO_ANNOTATOR
    annotator_file: Annotated[
        Path | None,
        Option(
            _SAMPLES,
            "weights of the annotator; default: the matching file in models/annotators; download: fetch that file if "
            "it is missing",
        ),
    ] = None
    resolution: Annotated[
        int, Option(_SAMPLES, "side of the pictures in pixels, a multiple of 64; default 512; use 1024 for SDXL")
    ] = 512
    all_shapes: Annotated[
        bool, Option(_SAMPLES, "keep the shapes of the pictures, as in training; default: crop them to squares")
    ] = False
    prompt_weights: Annotated[
        bool,
        Option(_SAMPLES, "read captions in the syntax of CLIP Text Encode; default: captions are literal text"),
    ] = False
    sampler: Annotated[str, Option(_PICTURES, "sampler, as KSampler names it; default ddim")] = "ddim"
    scheduler: Annotated[str, Option(_PICTURES, "scheduler, as KSampler names it; default ddim_uniform")] = (
        "ddim_uniform"
    )
    steps: Annotated[int, Option(_PICTURES, "sampling steps; default 50", least=1)] = 50
    cfg: Annotated[float, Option(_PICTURES, "guidance scale; default 7.5", least=0)] = 7.5
    negative: Annotated[str, Option(_PICTURES, "negative prompt; default: none", metavar="TEXT")] = ""
    seed: Annotated[
        int, Option(_PICTURES, "seed of the first picture; each further one has the next; default 0", least=0)
    ] = 0
    clip_model: Annotated[
        Path | None,
        Option(_MEASURES, "folder of a CLIP model of transformers, for the CLIP score; default: not measured"),
    ] = None
    inception: Annotated[
        str | None,
        Option(
            _MEASURES,
            "Inception weights for FID and KID: the file inception-2015-12-05.pt, or 'download' to fetch it (91 MB); "
            "needs the package clean-fid; default: not measured",
            metavar="FILE",
            path=True,
        ),
    ] = None
    name: Annotated[
        str | None, Option(_RESULT, "name of the folder of pictures and report; default: that of the adapter")
    ] = None
    output: Annotated[
        Path | None, Option(_RESULT, "folder for that folder; default: t2i_evaluations in ComfyUI's output folder")
    ] = None
    comfyui: Annotated[
        str | None,
        Option(
            _RESULT, "ComfyUI's folder; default: COMFYUI_PATH, or the ComfyUI that this pack is installed in", path=True
        ),
    ] = None
    cpu: Annotated[bool, Option(_RESULT, "compute on the CPU even if there is a GPU")] = False


def parse_evaluation(arguments: Sequence[str]) -> EvaluationOptions:
    """Read the command line.

    Args:
        arguments: The words after ``evaluate``.

    Returns:
        The options; ends the process with a message if they are wrong, and after ``--help``.

    Raises:
        PackError: The file of settings can't be read.
    """
    description = "Measure how good T2I-Adapters are: control, prompt and quality, in one table."
    command = Command("cli evaluate", description, _EXAMPLE, f"{WRITTEN} beside a report")
    return read_options(EvaluationOptions, command, arguments)
