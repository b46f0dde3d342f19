"""Encode samples with a checkpoint: pictures with its VAE, captions with its text encoder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from ..adapter_models.adapter import T2IAdapter
from ..common.containers import UNREADABLE
from ..nodes import host
from ..nodes.training.frozen_denoiser import prompt_rows
from ..nodes.training.size_rows import size_rows
from ..training.buckets import bucket_sizes
from ..training.errors import TrainingError
from ..training.framing import Framing
from ..training.loss import Prompts
from ..training.recipe import AS_WRITTEN, Recipe, Wording
from ..training.weight_digests import WeightDigests
from .annotate import CommandAnnotator
from .options import Options

_FOLDER = "checkpoints"
LITERAL = Wording("literal", host.literal_prompt)
# Bytes at both ends of a file that its digest covers; reading all of it would take long.
_DIGESTED = 1 << 20
# Prefixes of weights in a checkpoint that have no part in encoding.
_DENOISERS = ("model.diffusion_model.", "model_ema.")


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A loaded checkpoint.

    Attributes:
        path: The file, or that of the UNet.
        model: The MODEL.
        clip: The text encoder.
        vae: The VAE.
        parts: Files of the text encoders and the VAE, if they are not in the first one.
    """

    path: Path
    model: Any
    clip: Any
    vae: Any
    parts: tuple[Path, ...] = ()

    def part_digests(self) -> dict[str, list[str]]:
        """Return digests of the further files as a fact; empty for a model in one file."""
        return {"parts": [file_digest(part) for part in self.parts]} if self.parts else {}

    def encoder_digests(self, digests: WeightDigests) -> list[str]:
        """Return digests of the text encoders and the VAE."""
        # Where text encoders and VAE have files of their own, the first file is the UNet's alone.
        first = [digests.without(self.path, _DENOISERS)] if len(self.parts) < 2 else []
        return [*first, *(digests.whole(part) for part in self.parts)]

    def latents(self, pictures: Tensor) -> Tensor:
        """Encode pictures (B, 3, H, W) in [0, 1] as latents (B, C, h, w), at the denoiser's scale."""
        scaled: Tensor = self.model.model.process_latent_in(self.vae.encode(pictures.movedim(1, -1)))
        return scaled

    def prompt(self, caption: str, latents: Tensor) -> Prompts:
        """Encode a caption as one row of the denoiser's prompt arguments."""
        conditioning = self.clip.encode_from_tokens_scheduled(self.clip.tokenize(caption))
        try:
            rows: Prompts = prompt_rows(self.model, conditioning, latents)
        except TrainingError as error:
            raise TrainingError(
                f"checkpoint, {self.path}",
                error.got,
                "a text encoder that fits the UNet",
                "Use another checkpoint.",
                says="The checkpoint's text encoder does not fit its UNet.",
            ) from error
        return rows

    def size_rows(self, framing: Framing) -> Prompts:
        """Encode a picture's original size and crop; see :func:`.nodes.training.size_rows.size_rows`."""
        rows: Prompts = size_rows(self.model, self._empty, framing)
        return rows

    @cached_property
    def _empty(self) -> Any:
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(""))


def find_checkpoint(name: str) -> Path:
    """Return a checkpoint's file.

    Args:
        name: A path, or a name in ComfyUI's folder of checkpoints.

    Raises:
        TrainingError: There is no such file.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    known = host.model_files((_FOLDER,))
    if name not in known:
        raise TrainingError(
            "checkpoint",
            f"'{name}', which is no file",
            "a checkpoint file",
            f"ComfyUI's folder has: {', '.join(known) or 'none'}.",
            says=f"The checkpoint '{name}' does not exist.",
        )
    return Path(known[name])


def read_checkpoint(name: str) -> LoadedCheckpoint:
    """Load a checkpoint.

    Args:
        name: See :func:`find_checkpoint`.

    Raises:
        TrainingError: The file is damaged, not a checkpoint, or lacks the UNet, the text encoder or the VAE.
    """
    path = find_checkpoint(name)
    try:
        parts = host.load_model_clip_vae(path)
    except (*UNREADABLE, SafetensorError) as error:
        raise TrainingError(
            f"checkpoint, {path}",
            f"a file that can't be loaded ({error})",
            "a checkpoint",
            "Use another file.",
            says=f"The file {path.name} is damaged or not a checkpoint.",
        ) from error
    if any(part is None for part in parts):
        raise TrainingError(
            f"checkpoint, {path}",
            "parts missing",
            "UNet, text encoder and VAE in one file",
            "Use a complete checkpoint.",
            says=f"The file {path.name} is only a part of a checkpoint.",
        )
    return LoadedCheckpoint(path, *parts)


def recipe(
    options: Options,
    checkpoint: LoadedCheckpoint,
    adapter: T2IAdapter,
    annotate: CommandAnnotator | None,
    digests: WeightDigests,
) -> Recipe:
    """Return the recipe that turns samples into examples.

    Args:
        options: The user's choices.
        checkpoint: The checkpoint that encodes.
        adapter: The adapter to train.
        annotate: Makes condition images; None if every picture has one.
        digests: Digests of weight files.
    """
    model = getattr(checkpoint.model, "model", None)
    info = {
        # The denoiser is named, not digested: only its type and the scale of its latents count.
        "model": type(model).__name__,
        "latents": type(getattr(model, "latent_format", None)).__name__,
        "encoders": checkpoint.encoder_digests(digests),
    }
    return Recipe(
        sizes=bucket_sizes(options.resolution),
        channels=adapter.network.config.image_channels,
        bgr=adapter.bgr,
        latents=checkpoint.latents,
        prompt=checkpoint.prompt,
        annotate=_no_map if annotate is None else annotate,
        info=info,
        wording=wording_of(options.prompt_weights),
        size_rows=checkpoint.size_rows,
        annotator=None if annotate is None else annotate.facts(digests),
    )


def wording_of(prompt_weights: bool) -> Wording:
    """Return how captions become prompts: as CLIP Text Encode reads them, or literally."""
    return AS_WRITTEN if prompt_weights else LITERAL


def _no_map(pictures: Tensor) -> Tensor:
    raise AssertionError("every picture has a map")


def file_digest(path: Path) -> str:
    """Return a digest of a file's size and of its two ends, independent of its path."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.blake2b(file.read(_DIGESTED), digest_size=16)
        file.seek(max(0, size - _DIGESTED))
        digest.update(file.read(_DIGESTED))
    digest.update(str(size).encode())
    return digest.hexdigest()
