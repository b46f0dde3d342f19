"""Training data of the VAE and the denoiser: pictures, and their latents with prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from . import model, prompts, scenes
from .checkpoint import State, half
from .loop import Fit, Plan

LATENT_NOISE = 0.05
COLOUR_START = 1000  # steps during which the VAE's latents are pulled towards the mean colour of each patch
POOL_SEED = 1 << 24  # smaller seeds are used for the VAE's pictures


@dataclass(frozen=True)
class Pool:
    """N scenes, their full prompts as word rows (N, L), and their latents (N, 4, 16, 16) half, of deviation 1."""

    scenes: scenes.Scenes
    rows: torch.Tensor
    latent: torch.Tensor


def fit_vae(plan: Plan, device: torch.device, file: Path) -> Fit:
    """Set up the VAE as an autoencoder with slightly noisy latents, so that it tolerates the denoiser's errors."""
    torch.manual_seed(plan.seed)
    vae = model.build_vae().to(device, memory_format=torch.channels_last)
    vae.vae_scale.requires_grad_(False)
    vae.vae_shift.requires_grad_(False)

    def draw(step: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        seeds = torch.arange(step * plan.batch, (step + 1) * plan.batch, device=device) % POOL_SEED
        drawn = scenes.draw_scenes(seeds)
        picture = scenes.paint(drawn, scenes.distances(drawn)).contiguous(memory_format=torch.channels_last)
        noise = LATENT_NOISE * torch.randn((plan.batch, 4, 16, 16), generator=generator, device=device)
        return picture, noise, torch.full((), max(0.0, 1.0 - step / COLOUR_START), device=device)

    def loss(picture: torch.Tensor, noise: torch.Tensor, lead: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            latent = vae.taesd_encoder(picture).float()
            again = vae.taesd_decoder(latent + noise).float()
        colour = functional.avg_pool2d(picture, 8) * 3.0 - 1.5
        miss = (again - picture).abs().mean() + 4.0 * functional.mse_loss(again, picture)
        stray = functional.relu(latent.abs() - 2.5).mean()
        return miss + lead * functional.mse_loss(latent[:, :3], colour) + 0.1 * stray

    return Fit(vae, plan, draw, loss, file)


@torch.no_grad()
def finished_vae(state: State, device: torch.device) -> State:
    """Round a trained VAE to fp16 and set scale and shift, so that latents in SD1's convention have deviation 1."""
    state = half(state)
    vae = loaded_vae(state, device)
    latent = encode(vae, scenes.draw_scenes(torch.arange(1024, device=device)))
    # With scale 1 and shift 0 these latents already carry SD1's factor, so their deviation is the scale itself.
    mean, deviation = float(latent.mean()), float(latent.std())
    state["vae_scale"] = torch.tensor(deviation)
    state["vae_shift"] = torch.tensor(-mean / (deviation * model.LATENT_SCALE))
    return state


def loaded_vae(state: State, device: torch.device) -> nn.Module:
    """Build the VAE, fp32, frozen, from a state of any precision."""
    vae = model.build_vae(model.vae_widths(state))
    vae.load_state_dict({key: value.float() for key, value in state.items()})
    return vae.to(device, memory_format=torch.channels_last).requires_grad_(False)


Paint = Callable[[scenes.Scenes, torch.Tensor], torch.Tensor]


def encode(vae: nn.Module, drawn: scenes.Scenes, paint: Paint = scenes.paint, chunk: int = 16) -> torch.Tensor:
    """Paint N scenes and encode them as the denoiser sees them; (N, 4, 16, 16) half."""
    parts = []
    for first in range(0, len(drawn), chunk):
        part = drawn.pick(slice(first, first + chunk))
        picture = paint(part, scenes.distances(part)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(picture.device.type, dtype=torch.float16, enabled=picture.is_cuda):
            latent = vae.taesd_encoder(picture).float()
        parts.append(((latent / vae.vae_scale + vae.vae_shift) * model.LATENT_SCALE).half().contiguous())
    return torch.cat(parts)


@torch.no_grad()
def build_pool(vae: State, count: int, device: torch.device, paint: Paint = scenes.paint) -> Pool:
    """Make the pool of training scenes with their latents."""
    drawn = scenes.draw_scenes(torch.arange(POOL_SEED, POOL_SEED + count, device=device))
    return Pool(drawn, prompts.word_rows(drawn), encode(loaded_vae(vae, device), drawn, paint))


class Denoiser(nn.Module):
    """UNet and text encoder together: noisy latents, times and prompts to the velocity v.

    Args:
        words: how many words the text encoder knows.
    """

    def __init__(self, words: int = len(prompts.WORDS)) -> None:
        super().__init__()
        self.unet = model.build_unet()
        self.text = model.TextEncoder(words)

    def forward(self, x: torch.Tensor, time: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """(B, 4, h, w), (B,) long and (B, 77) long word rows -> (B, 4, h, w)."""
        return self.unet(x, time, self.text(tokens), transformer_options={})


def noisy(
    latent: torch.Tensor, time: torch.Tensor, alphas: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add noise to latents (B, 4, h, w) at times (B,); returns the noisy ones and the velocity to predict."""
    noise = torch.randn(latent.shape, generator=generator, device=latent.device)
    keep = alphas[time].sqrt()[:, None, None, None]
    lose = (1.0 - alphas[time]).sqrt()[:, None, None, None]
    return keep * latent + lose * noise, keep * noise - lose * latent


def fit_denoiser(plan: Plan, pool: Pool, device: torch.device, file: Path, begin: State | None = None) -> Fit:
    """Set up the denoiser: velocity prediction at uniform times, prompts thinned out at random.

    It computes in fp32 (TF32 products on a GPU), since bf16 is too coarse for so narrow a UNet. It starts from random
    weights, or from those of another denoiser.
    """
    torch.manual_seed(plan.seed)
    denoiser = Denoiser()
    if begin is not None:
        denoiser.load_state_dict(begin)
    denoiser.to(device)
    alphas = model.alphas(device)

    def draw(_step: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        index = torch.randint(len(pool.scenes), (plan.batch,), generator=generator, device=device)
        rows = pool.rows[index]
        draws = torch.rand((plan.batch, rows.shape[1] + 2), generator=generator, device=device)
        time = torch.randint(1000, (plan.batch,), generator=generator, device=device)
        x, velocity = noisy(pool.latent[index].float(), time, alphas, generator)
        rows = prompts.drop_words(rows, draws, empty=0.1, colourless=0.1, partly=0.04)
        return x, time, prompts.tokens(rows), velocity

    def loss(x: torch.Tensor, time: torch.Tensor, tokens: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        return functional.mse_loss(denoiser(x, time, tokens), velocity)

    return Fit(denoiser, plan, draw, loss, file)
