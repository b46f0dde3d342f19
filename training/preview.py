"""Preview an adapter in training: sample one picture in a few deterministic steps."""

from __future__ import annotations

import torch
from torch import Tensor

from .in_memory_dataset import TrainingSet, seeded
from .loop import Trainer
from .loss import Denoiser, Prompts

STEPS = 12
# Guidance scale of the prompt if the empty prompt is known.
GUIDANCE = 5.0


@torch.no_grad()
def preview(trainer: Trainer, data: TrainingSet, steps: int = STEPS) -> Tensor:
    """Sample a picture for the first example with the current result.

    Uses neither the run's random numbers nor torch's, so previews don't change the run.

    Args:
        trainer: The trainer.
        data: The examples; only the first is used.
        steps: Number of sampler steps; each calls the denoiser once.

    Returns:
        (1, C, h, w): latents at the denoiser's scale, on the trainer's device. All previews of a run start from equal
        noise, so that pictures can be compared.
    """
    device = trainer.device
    noise = torch.randn(data.latents[:1].shape, generator=seeded(trainer.settings.seed, "preview", 0)).to(device)
    prompts = {name: rows[:1].to(device) for name, rows in data.prompts.items()}
    empty = None if data.empty is None else {name: rows.to(device) for name, rows in data.empty.items()}
    return denoise(trainer.denoiser, trainer.features(data.images[:1].to(device)), prompts, noise, empty, steps)


def denoise(
    denoiser: Denoiser, features: list[Tensor], prompts: Prompts, noise: Tensor, empty: Prompts | None, steps: int
) -> Tensor:
    """Denoise with DDIM at eta = 0.

    Args:
        denoiser: The frozen diffusion model.
        features: The adapter's features, one row.
        prompts: One row of each tensor.
        noise: (1, C, h, w) normal noise.
        empty: The empty prompt for classifier-free guidance; None for no guidance.
        steps: Number of steps, evenly spaced from the noisiest timestep.

    Returns:
        (1, C, h, w).

    Source: arXiv 2010.02502, equation 12 with sigma = 0; arXiv 2207.12598 (guidance).
    """
    rows = 1
    if empty is not None:
        rows, prompts = 2, {name: torch.cat([one, empty[name]]) for name, one in prompts.items()}
        features = [torch.cat([level, level]) for level in features]
    timesteps = torch.linspace(len(denoiser.alphas_cumprod) - 1, 0, steps + 1)[:-1].round().long().tolist()
    alphas_cumprod = denoiser.alphas_cumprod.to(noise)
    signals, noises = alphas_cumprod.sqrt(), denoiser.prediction.noise_scale(alphas_cumprod)
    noisy = clean = noise
    for timestep, following in zip(timesteps, [*timesteps[1:], None], strict=True):
        sqrt_alpha, sqrt_one_minus_alpha = signals[timestep], noises[timestep]
        at = torch.full((rows,), timestep, device=noise.device)
        predicted = denoiser.denoise(noisy.expand(rows, -1, -1, -1), at, prompts, features)
        if rows == 2:
            with_prompt, without = predicted.chunk(2)
            predicted = without + GUIDANCE * (with_prompt - without)
        clean = denoiser.prediction.clean(noisy, predicted, sqrt_alpha, sqrt_one_minus_alpha)
        if following is not None:
            direction = (noisy - sqrt_alpha * clean) / sqrt_one_minus_alpha
            noisy = signals[following] * clean + noises[following] * direction
    return clean
