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
# (noisy latents, timesteps, prompts, features of the adapter) -> prediction.
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
    target=lambda latents, noise, sqrt_alpha, sqrt_one_minus_alpha: noise,
    clean=lambda noisy, predicted, sqrt_alpha, sqrt_one_minus_alpha: (
        (noisy - sqrt_one_minus_alpha * predicted) / sqrt_alpha
    ),
)
V = Prediction(
    "v",
    target=lambda latents, noise, sqrt_alpha, sqrt_one_minus_alpha: sqrt_alpha * noise - sqrt_one_minus_alpha * latents,
    clean=lambda noisy, predicted, sqrt_alpha, sqrt_one_minus_alpha: (
        sqrt_alpha * noisy - sqrt_one_minus_alpha * predicted
    ),
)
PREDICTIONS = (EPS, V)


@dataclass(frozen=True)
class Denoiser:
    """A frozen diffusion model.

    Attributes:
        denoise: The model itself; gradients flow through it into the features.
        alphas_cumprod: (T,) cumulative product of the alphas at each timestep, the remaining share of the variance.
        prediction: What it predicts.
        half: It computes in fp16, whose gradients vanish unless the loss is scaled.
        blocks: Its parts, none of which lies in another: where the trainer saves memory; see :mod:`.recompute`.
        identity: A short text that differs for other weights, so that a run is not continued with those.
    """

    denoise: Denoise
    alphas_cumprod: Tensor
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
        timesteps: (B,) whole numbers.
    """

    latents: Tensor
    images: Tensor
    prompts: Prompts
    noise: Tensor
    timesteps: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        prompts = {name: rows.to(device) for name, rows in self.prompts.items()}
        moved = (part.to(device) for part in (self.latents, self.images, self.noise, self.timesteps))
        latents, images, noise, timesteps = moved
        return Batch(latents, images, prompts, noise, timesteps)


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
    alphas_cumprod = denoiser.alphas_cumprod.to(batch.latents)[batch.timesteps].view(-1, 1, 1, 1)
    sqrt_alpha, sqrt_one_minus_alpha = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    noisy = sqrt_alpha * batch.latents + sqrt_one_minus_alpha * batch.noise
    with autocast(batch.images.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        features = network(batch.images)
    predicted = denoiser.denoise(noisy, batch.timesteps, batch.prompts, features)
    target = denoiser.prediction.target(batch.latents, batch.noise, sqrt_alpha, sqrt_one_minus_alpha)
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
