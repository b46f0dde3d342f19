"""How a checkpoint makes examples: latents by its VAE, prompts by its text encoder, condition images by annotators."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from ..adapter_models.adapter import T2IAdapter
from ..common.files import DAMAGE
from ..nodes import host
from ..nodes.training.frozen_denoiser import prompt_rows
from ..training.buckets import bucket_sizes
from ..training.errors import TrainingError
from ..training.loss import Prompts
from ..training.recipe import AS_WRITTEN, Recipe, Wording
from .annotate import annotator, preset_named
from .options import Options

FOLDER = "checkpoints"
LITERAL = Wording("literal", host.literal_prompt)
# Enough of a file's beginning and end to tell it from others without reading gigabytes.
SAMPLE = 1 << 20


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A loaded checkpoint.

    Attributes:
        path: Its file.
        model: The MODEL.
        clip: The text encoder.
        vae: The VAE.
    """

    path: Path
    model: Any
    clip: Any
    vae: Any

    def latents(self, picture: Tensor) -> Tensor:
        """Encode a picture (1, 3, H, W) in [0, 1] as latents (1, C, h, w), as the denoiser was trained on."""
        scaled: Tensor = self.model.model.process_latent_in(self.vae.encode(picture.movedim(1, -1)))
        return scaled

    def prompt(self, caption: str, latents: Tensor) -> Prompts:
        """Encode a caption as one row of what the denoiser is called with."""
        conditioning = self.clip.encode_from_tokens_scheduled(self.clip.tokenize(caption))
        rows: Prompts = prompt_rows(self.model, conditioning, latents)
        return rows


def find_checkpoint(name: str) -> Path:
    """Return a checkpoint's file.

    Args:
        name: A path, or a name in ComfyUI's folder of checkpoints.

    Raises:
        TrainingError: There is none.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    known = host.model_files((FOLDER,))
    if name not in known:
        raise TrainingError(
            "checkpoint",
            f"'{name}', which is no file",
            "a checkpoint file",
            f"There are: {', '.join(known) or 'none'}.",
        )
    return Path(known[name])


def read_checkpoint(name: str) -> LoadedCheckpoint:
    """Load a checkpoint.

    Args:
        name: See :func:`find_checkpoint`.

    Raises:
        TrainingError: It is damaged, of an unknown kind, or without text encoder or VAE.
    """
    path = find_checkpoint(name)
    try:
        parts = host.load_checkpoint(path)
    except (*DAMAGE, SafetensorError) as error:
        raise TrainingError(
            f"checkpoint, {path}", f"a file that can't be loaded ({error})", "a checkpoint", "Use another file."
        ) from error
    if any(part is None for part in parts):
        raise TrainingError(
            f"checkpoint, {path}", "parts missing", "UNet, text encoder and VAE in one file", "Use a whole checkpoint."
        )
    return LoadedCheckpoint(path, *parts)


def recipe(options: Options, checkpoint: LoadedCheckpoint, adapter: T2IAdapter) -> Recipe:
    """Return how samples become examples.

    Args:
        options: What the user asks for.
        checkpoint: What encodes.
        adapter: What they are for.
    """
    annotate: Callable[[Tensor], Tensor] = annotator(options.annotator, options.annotator_file, adapter)
    preset = preset_named(options.annotator, adapter)
    file = options.annotator_file
    info = {
        "checkpoint": file_digest(checkpoint.path),
        "annotator": None if preset is None else [preset.condition, preset.resolution],
        "annotator_file": None if file is None else file_digest(file),
    }
    config = adapter.network.config
    sizes = bucket_sizes(options.resolution)
    wording = AS_WRITTEN if options.prompt_weights else LITERAL
    return Recipe(
        sizes, config.image_channels, adapter.bgr, checkpoint.latents, checkpoint.prompt, annotate, info, wording
    )


def file_digest(path: Path) -> str:
    """Return a short text that differs for other files, wherever they lie, without reading all of a large one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.blake2b(file.read(SAMPLE), digest_size=16)
        file.seek(max(0, size - SAMPLE))
        digest.update(file.read(SAMPLE))
    digest.update(str(size).encode())
    return digest.hexdigest()
