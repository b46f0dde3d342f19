"""The paper's loss: what a frozen denoiser predicts with an adapter's features, against what it should."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, autocast, nn
from torch.nn import functional

from ..adapter_models.networks import Adapter

# Prompt embeddings by the names that the denoiser gives them, one row per prompt.
Prompts = Mapping[str, Tensor]
# (noisy latents, times, prompts, features of the adapter) -> prediction.
Denoise = Callable[[Tensor, Tensor, Prompts, list[Tensor]], Tensor]


@dataclass(frozen=True)
class Prediction:
    """What a denoiser predicts.

    Attributes:
        name: Its name in the field.
        target: (latents, noise, sqrt(alpha), sqrt(1 - alpha)) -> what a perfect prediction would be.
        clean: (noisy latents, prediction, sqrt(alpha), sqrt(1 - alpha)) -> the latents that follow from a prediction.
    """

    name: str
    target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    clean: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


# Source: arXiv 2112.10752 (eps); arXiv 2202.00512, section 4 (v).
EPS = Prediction(
    "eps",
    target=lambda latents, noise, keep, lose: noise,
    clean=lambda noisy, predicted, keep, lose: (noisy - lose * predicted) / keep,
)
V = Prediction(
    "v",
    target=lambda latents, noise, keep, lose: keep * noise - lose * latents,
    clean=lambda noisy, predicted, keep, lose: keep * noisy - lose * predicted,
)
PREDICTIONS = (EPS, V)


@dataclass(frozen=True)
class Denoiser:
    """A frozen diffusion model.

    Attributes:
        denoise: The model itself; gradients flow through it into the features.
        alphas: (T,) alpha of each time: the part of the latents' variance that is left.
        prediction: What it predicts.
        half: It computes in fp16, whose gradients vanish unless the loss is scaled.
        blocks: Its parts, none of which lies in another: where the trainer saves memory; see :mod:`.recompute`.
        identity: A short text that differs for other weights, so that a run is not continued with those.
    """

    denoise: Denoise
    alphas: Tensor
    prediction: Prediction = EPS
    half: bool = False
    blocks: tuple[nn.Module, ...] = ()
    identity: str = ""


@dataclass(frozen=True)
class Batch:
    """What one forward is trained on; all of it on one device.

    Attributes:
        latents: (B, C, h, w), as the denoiser was trained on (scaled).
        images: (B, image channels, H, W) in [0, 1], padded to whole cells.
        prompts: B rows each.
        noise: Like the latents, normally distributed.
        times: (B,) whole numbers.
    """

    latents: Tensor
    images: Tensor
    prompts: Prompts
    noise: Tensor
    times: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        prompts = {name: rows.to(device) for name, rows in self.prompts.items()}
        moved = (part.to(device) for part in (self.latents, self.images, self.noise, self.times))
        latents, images, noise, times = moved
        return Batch(latents, images, prompts, noise, times)


def adapter_loss(network: Adapter, denoiser: Denoiser, batch: Batch, dtype: torch.dtype | None = None) -> Tensor:
    """Compute the mean squared error of the prediction.

    Args:
        network: The adapter.
        denoiser: The frozen diffusion model.
        batch: What to denoise, and under which conditions.
        dtype: Precision that the adapter computes in; None for that of its weights.

    Returns:
        A scalar in fp32, with gradients to the adapter.

    Source: arXiv 2302.08453, equation 6.
    """
    alphas = denoiser.alphas.to(batch.latents)[batch.times].view(-1, 1, 1, 1)
    keep, lose = alphas.sqrt(), (1 - alphas).sqrt()
    noisy = keep * batch.latents + lose * batch.noise
    with autocast(batch.images.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        features = network(batch.images)
    predicted = denoiser.denoise(noisy, batch.times, batch.prompts, features)
    target = denoiser.prediction.target(batch.latents, batch.noise, keep, lose)
    return functional.mse_loss(predicted.float(), target.float())


def replace_rows(rows: Tensor, chosen: Tensor, by: Tensor) -> Tensor:
    """Put something else in the place of some rows.

    Args:
        rows: (B, …).
        chosen: (B,) true where a row is replaced.
        by: (1, …) what replaces it.

    Returns:
        (B, …).
    """
    return torch.where(chosen.view(-1, *(1,) * (rows.ndim - 1)), by.to(rows), rows)
