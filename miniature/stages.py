"""What each part learns from: pictures for the VAE, latents and prompts for the denoiser, hints for adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from . import conditions, model, prompts, scenes
from .checkpoint import State, half
from .loop import Fit, Plan

LATENT_NOISE = 0.05
COLOUR_START = 1000  # steps over which the VAE's latents are led to begin as the mean colour of each patch
POOL_SEED = 1 << 24  # seeds below belong to the VAE's pictures


@dataclass(frozen=True)
class Pool:
    """N scenes, their full prompts as word rows (N, L), and their latents (N, 4, 16, 16) half, of deviation 1."""

    scenes: scenes.Scenes
    rows: torch.Tensor
    latent: torch.Tensor


def fit_vae(plan: Plan, device: torch.device, file: Path) -> Fit:
    """Set up the VAE: pictures in, pictures out, with slightly noisy latents so that it forgives the denoiser."""
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
    """Round a trained VAE to fp16 and set its scale and shift, so that SD1's latents come out at deviation 1."""
    state = half(state)
    vae = loaded_vae(state, device)
    latent = encode(vae, torch.arange(1024, device=device))
    # With scale 1 and shift 0 these latents already carry SD1's factor, so their deviation is the scale itself.
    mean, deviation = float(latent.mean()), float(latent.std())
    state["vae_scale"] = torch.tensor(deviation)
    state["vae_shift"] = torch.tensor(-mean / (deviation * model.LATENT_SCALE))
    return state


def loaded_vae(state: State, device: torch.device) -> nn.Module:
    """Build the VAE, fp32, frozen, from a state of any precision."""
    vae = model.build_vae()
    vae.load_state_dict({key: value.float() for key, value in state.items()})
    return vae.to(device, memory_format=torch.channels_last).requires_grad_(False)


def encode(vae: nn.Module, seeds: torch.Tensor, chunk: int = 512) -> torch.Tensor:
    """Draw scenes by seed and encode them as the denoiser sees them; (N,) -> (N, 4, 16, 16) half."""
    parts = []
    for part in seeds.split(chunk):
        drawn = scenes.draw_scenes(part)
        picture = scenes.paint(drawn, scenes.distances(drawn)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(seeds.device.type, dtype=torch.float16, enabled=seeds.is_cuda):
            latent = vae.taesd_encoder(picture).float()
        parts.append(((latent / vae.vae_scale + vae.vae_shift) * model.LATENT_SCALE).half().contiguous())
    return torch.cat(parts)


@torch.no_grad()
def build_pool(vae: State, count: int, device: torch.device) -> Pool:
    """Make the pool of training scenes with their latents."""
    seeds = torch.arange(POOL_SEED, POOL_SEED + count, device=device)
    drawn = scenes.draw_scenes(seeds)
    return Pool(drawn, prompts.word_rows(drawn), encode(loaded_vae(vae, device), seeds))


class Denoiser(nn.Module):
    """UNet and text encoder together: noisy latents, times and prompts to the velocity v."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = model.build_unet()
        self.text = model.TextEncoder()

    def forward(
        self, x: torch.Tensor, time: torch.Tensor, tokens: torch.Tensor, features: list[torch.Tensor] | None = None
    ) -> torch.Tensor:
        """(B, 4, h, w), (B,) long, (B, 77) long word rows, and an adapter's features -> (B, 4, h, w)."""
        control = None if features is None else model.control(features)
        return self.unet(x, time, self.text(tokens), control=control, transformer_options={})


def noisy(
    latent: torch.Tensor, time: torch.Tensor, alphas: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add noise to latents (B, 4, h, w) at times (B,); returns the noisy ones and the velocity to predict."""
    noise = torch.randn(latent.shape, generator=generator, device=latent.device)
    keep = alphas[time].sqrt()[:, None, None, None]
    lose = (1.0 - alphas[time]).sqrt()[:, None, None, None]
    return keep * latent + lose * noise, keep * noise - lose * latent


def fit_denoiser(plan: Plan, pool: Pool, device: torch.device, file: Path) -> Fit:
    """Set up the denoiser: velocity prediction at uniform times, prompts thinned out at random.

    It computes in fp32 (TF32 products on a GPU): bf16 rounds too much away in a UNet this narrow.
    """
    torch.manual_seed(plan.seed)
    denoiser = Denoiser().to(device)
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


Hint = Callable[[scenes.Scenes, torch.Generator], torch.Tensor]


def sketch_hint(drawn: scenes.Scenes, generator: torch.Generator) -> torch.Tensor:
    """Sketches with lines one to three pixels wide, so that other pens work too; (B, 1, 128, 128)."""
    width = 0.5 + torch.rand((len(drawn), 1, 1, 1), generator=generator, device=drawn.seed.device)
    return conditions.sketch(scenes.distances(drawn), width)


def colour_hint(drawn: scenes.Scenes, generator: torch.Generator) -> torch.Tensor:
    """Palettes, three quarters of them cell means and one quarter the paper's bicubic samples; (B, 3, 128, 128)."""
    picture = scenes.paint(drawn, scenes.distances(drawn))
    mean = torch.rand((len(drawn), 1, 1, 1), generator=generator, device=drawn.seed.device) < 0.75
    return torch.where(mean, conditions.palette(picture), conditions.palette(picture, sampling="bicubic"))


def segment_hint(drawn: scenes.Scenes, _generator: torch.Generator) -> torch.Tensor:
    """Segmentation maps by kind; (B, 3, 128, 128)."""
    return conditions.segmentation(drawn, scenes.distances(drawn))


@dataclass(frozen=True)
class Condition:
    """One kind of adapter: its input channels, its hints, and the share of training prompts without colour words."""

    channels: int
    hint: Hint
    colourless: float


ADAPTERS: dict[str, Condition] = {
    "sketch": Condition(1, sketch_hint, 0.1),
    "color": Condition(3, colour_hint, 0.5),
    "seg": Condition(3, segment_hint, 0.1),
}


def fit_adapter(kind: str, plan: Plan, denoiser: State, pool: Pool, device: torch.device, file: Path) -> Fit:
    """Set up one adapter over the frozen denoiser, with the paper's cubic times t = (1 - u^3) T."""
    torch.manual_seed(plan.seed)
    condition = ADAPTERS[kind]
    frozen = Denoiser()
    frozen.load_state_dict(denoiser)
    frozen.to(device).requires_grad_(False)
    adapter = model.build_adapter(condition.channels).to(device)
    alphas = model.alphas(device)

    def draw(_step: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        index = torch.randint(len(pool.scenes), (plan.batch,), generator=generator, device=device)
        drawn = pool.scenes.pick(index)
        rows = pool.rows[index]
        draws = torch.rand((plan.batch, rows.shape[1] + 2), generator=generator, device=device)
        rows = prompts.drop_words(rows, draws, empty=0.15, colourless=condition.colourless, partly=0.04)
        cubic = 1.0 - torch.rand((plan.batch,), generator=generator, device=device) ** 3
        time = (cubic * 1000.0).long().clamp(max=999)
        x, velocity = noisy(pool.latent[index].float(), time, alphas, generator)
        return x, time, prompts.tokens(rows), velocity, condition.hint(drawn, generator)

    def loss(
        x: torch.Tensor, time: torch.Tensor, tokens: torch.Tensor, velocity: torch.Tensor, hint: torch.Tensor
    ) -> torch.Tensor:
        return functional.mse_loss(frozen(x, time, tokens, adapter(hint)), velocity)

    return Fit(adapter, plan, draw, loss, file)
