"""The paper's loss: the error of a frozen denoiser's prediction with an adapter's features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, autocast, nn
from torch.nn import functional

from ..annotators.images import from_bytes

# Condition images (B, image channels, H, W) -> features: an adapter's network.
Features = Callable[[Tensor], list[Tensor]]
# Prompt tensors by the denoiser's names, one row per prompt.
Prompts = Mapping[str, Tensor]
# (noisy latents, timesteps, prompts, features of the adapter) -> prediction.
Denoise = Callable[[Tensor, Tensor, Prompts, list[Tensor]], Tensor]


@dataclass(frozen=True)
class Prediction:
    """A type of prediction.

    Attributes:
        name: Its common name.
        target: (latents, noise, sqrt(alpha), sqrt(1 - alpha)) -> the perfect prediction.
        clean: (noisy latents, prediction, sqrt(alpha), sqrt(1 - alpha)) -> the latents implied by a prediction.
        noise_scale: alpha -> the factor of the noise, which the other two take as sqrt(1 - alpha); that of the latents
            is sqrt(alpha).
    """

    name: str
    target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    clean: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    noise_scale: Callable[[Tensor], Tensor] = lambda alpha: (1 - alpha).sqrt()


# Source: arXiv 2112.10752 (eps); arXiv 2202.00512, section 4 (v); arXiv 2209.03003 (flow, along straight lines).
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
FLOW = Prediction(
    "flow",
    target=lambda latents, noise, signal, noise_scale: noise - latents,
    clean=lambda noisy, predicted, signal, noise_scale: noisy - noise_scale * predicted,
    noise_scale=lambda alpha: 1 - alpha.sqrt(),
)
PREDICTIONS = (EPS, V, FLOW)


@dataclass(frozen=True)
class Denoiser:
    """A frozen diffusion model.

    Attributes:
        denoise: The model; gradients flow through it to the features.
        alphas_cumprod: (T,) cumulative product of the alphas at each timestep, the remaining share of the variance; for
            flow matching the square of the latents' factor.
        prediction: Its type of prediction.
        half: Whether it computes in fp16, whose gradients underflow unless the loss is scaled.
        blocks: Its blocks, not nested, in which the trainer saves memory; see :mod:`.memory_savers`.
        overwrites: The blocks change tensors in place that their backward pass needs.
        identity: Digest of its weights; a run is resumed only with the same one.
    """

    denoise: Denoise
    alphas_cumprod: Tensor
    prediction: Prediction = EPS
    half: bool = False
    blocks: tuple[nn.Module, ...] = ()
    overwrites: bool = False
    identity: str = ""


@dataclass(frozen=True)
class Batch:
    """The inputs of one forward, all on one device.

    Attributes:
        latents: (B, C, h, w) at the denoiser's scale.
        images: (B, image channels, H, W) in [0, 1], padded to whole cells; or bytes, 255 for 1.
        prompts: B rows of each tensor, in full or half precision.
        noise: Normal noise, shaped like the latents.
        timesteps: (B,) whole numbers.
    """

    latents: Tensor
    images: Tensor
    prompts: Prompts
    noise: Tensor
    timesteps: Tensor

    def pinned(self) -> Batch:
        """Return the batch in pinned memory, from which a GPU copies it while it computes."""
        return self._each(Tensor.pin_memory)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device, bytes and half precision converted there."""
        moved = self._each(lambda part: part.to(device, non_blocking=True))
        images = moved.images if moved.images.is_floating_point() else from_bytes(moved.images, moved.latents)
        return replace(moved, images=images, prompts={name: rows.float() for name, rows in moved.prompts.items()})

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        prompts = {name: change(rows) for name, rows in self.prompts.items()}
        parts = (self.latents, self.images, self.noise, self.timesteps)
        latents, images, noise, timesteps = map(change, parts)
        return Batch(latents, images, prompts, noise, timesteps)


def adapter_loss(network: Features, denoiser: Denoiser, batch: Batch, dtype: torch.dtype | None = None) -> Tensor:
    """Return the mean squared error of the prediction.

    Args:
        network: The adapter.
        denoiser: The frozen diffusion model.
        batch: The batch.
        dtype: Precision that the adapter computes in; None for the precision of its weights.

    Returns:
        A scalar in fp32, with gradients to the adapter.

    Source: arXiv 2302.08453, equation 6.
    """
    alphas_cumprod = denoiser.alphas_cumprod.to(batch.latents)[batch.timesteps].view(-1, 1, 1, 1)
    sqrt_alpha, sqrt_one_minus_alpha = alphas_cumprod.sqrt(), denoiser.prediction.noise_scale(alphas_cumprod)
    noisy = sqrt_alpha * batch.latents + sqrt_one_minus_alpha * batch.noise
    with autocast(batch.images.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        features = network(batch.images)
    predicted = denoiser.denoise(noisy, batch.timesteps, batch.prompts, features)
    target = denoiser.prediction.target(batch.latents, batch.noise, sqrt_alpha, sqrt_one_minus_alpha)
    return functional.mse_loss(predicted.float(), target.float())


def replace_rows(rows: Tensor, chosen: Tensor, by: Tensor) -> Tensor:
    """Replace some rows.

    Args:
        rows: (B, …).
        chosen: (B,), true for each row to replace.
        by: (1, …), the replacement.

    Returns:
        (B, …).
    """
    return torch.where(chosen.view(-1, *(1,) * (rows.ndim - 1)), by.to(rows), rows)
