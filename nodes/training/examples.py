"""Build the training set from the inputs of Train T2I-Adapter, and check the MODEL."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...training.errors import TrainingError
from ...training.in_memory_dataset import TrainingSet, training_set
from ...training.prompts import same_length
from .. import host
from ..sampling import attach
from .frozen_denoiser import TRAIN_NODE, prompt_rows

CONNECT = "Connect VAE Encode to latents and an annotator to images."


@dataclass(frozen=True)
class Materials:
    """Training data in the formats of ComfyUI's sockets.

    Attributes:
        latents: LATENTs, each with one or more pictures.
        images: IMAGEs, each with one or more condition images.
        positive: CONDITIONING, one prompt per picture or one for all.
        empty: CONDITIONING of the empty prompt, or None.
    """

    latents: Sequence[Mapping[str, Any]]
    images: Sequence[Tensor]
    positive: Sequence[Any]
    empty: Sequence[Any] | None = None

    def image(self, number: int) -> Tensor:
        """Return a condition image (H, W, C) by its number, counted over all batches."""
        return next(itertools.islice(itertools.chain.from_iterable(self.images), number, None))


def check_model(model: Any) -> None:
    """Check that an adapter can be trained for a MODEL.

    Raises:
        TrainingError: The MODEL has adapters applied, or a noise schedule other than Stable Diffusion's.
    """
    if attach.stack_of(model).uses:
        raise TrainingError(
            f"{TRAIN_NODE}, model",
            "a MODEL with adapters applied",
            "the bare diffusion model",
            "Connect the loader's output, from before Apply T2I-Adapter.",
            says="The MODEL already has adapters applied.",
        )
    if host.prediction_of(model) is None:
        raise TrainingError(
            f"{TRAIN_NODE}, model",
            "a MODEL that predicts neither noise nor velocity on Stable Diffusion's schedule, and no flow",
            "a checkpoint of SD1.x, SD2.x or SDXL, or a transformer such as Flux",
            "Load another checkpoint, or remove nodes that change its sampling (LCM, EDM, flow).",
            says="Adapters can't be trained for this MODEL.",
        )


def node_examples(model: Any, adapter: T2IAdapter, materials: Materials) -> TrainingSet:
    """Build the training set from the node's inputs.

    Raises:
        AdapterError: Counts, sizes or channels don't match; or a subclass.
    """
    samples = [latent["samples"].float() for latent in materials.latents]
    # Pictures of a VAE for videos have one frame, which the model gets again.
    base = model.model
    frames = base.latent_format.latent_dimensions > 2
    pictures = _together("latents", [each.squeeze(2) if frames and each.ndim == 5 else each for each in samples])
    images = _together("images", [image.float() for image in materials.images])
    channels = base.latent_format.latent_channels
    if pictures.shape[1] != channels:
        raise TrainingError(
            f"{TRAIN_NODE}, latents",
            f"shape {tuple(pictures.shape)}",
            f"pictures of {channels} channels",
            "Encode the pictures with the VAE of this MODEL.",
            says="The latents were encoded by the VAE of another kind of model.",
        )
    given = pictures.clone().unsqueeze(2) if frames else pictures.clone()
    latents = base.process_latent_in(given)
    latents = latents.squeeze(2) if frames else latents
    prompts = prompt_rows(model, materials.positive, latents)
    empty = None if materials.empty is None else prompt_rows(model, materials.empty, latents)
    if empty is not None:
        prompts, empty = same_length(prompts, empty)
    return training_set(
        latents,
        images.movedim(-1, 1),
        prompts,
        adapter.network.config,
        cell=base.latent_format.spacial_downscale_ratio,
        empty=empty,
        bgr=adapter.bgr,
    )


def _together(name: str, parts: list[Tensor]) -> Tensor:
    if not parts:
        raise TrainingError(
            f"{TRAIN_NODE}, {name}", "none", "at least one", "Connect the data set.", says=f"The input {name} is empty."
        )
    flat = next((part for part in parts if part.ndim != 4), None)
    if flat is not None:
        raise TrainingError(
            f"{TRAIN_NODE}, {name}",
            f"shape {tuple(flat.shape)}",
            "a batch of pictures, of four dimensions",
            CONNECT,
            says=f"The input {name} holds something else than pictures.",
        )
    sizes = sorted({tuple(part.shape[1:]) for part in parts})
    if len(sizes) > 1:
        raise TrainingError(
            f"{TRAIN_NODE}, {name}",
            f"shapes {', '.join(map(str, sizes))}",
            "one size for all",
            "Crop or scale all pictures to one size.",
            says=f"The pictures of {name} have different sizes.",
        )
    return torch.cat([part.cpu() for part in parts])
