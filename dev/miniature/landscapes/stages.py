"""What the landscapes' VAE and denoiser learn from: pictures, and their latents with captions drawn anew each time."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from .. import model
from ..checkpoint import State, half, write
from ..loop import Fit, Plan
from ..stages import POOL_SEED, Denoiser, loaded_vae, noisy
from .captions import TOKEN_IDS, Drop, captions, rows_of
from .light import FLAT, PAPER, Style
from .paint import paint
from .scene import draw_scenes
from .team import Team
from .truth import Facts, facts

SIZE = 128
CROP = 64  # side of what the VAE sees in a step: a quarter of a picture, at a quarter of the cost
VAE_WIDTHS = ((16, 32, 32, 32), (64, 48, 32, 16))  # narrow where pictures are large, see `model.build_vae`
LATENT_NOISE = 0.03
PAPER_EVERY = 4  # one in so many of the VAE's batches is in the second style
COLOUR_START = 1000  # batches over which the VAE's latents are led to begin as the mean colour of each patch
CHUNK = 64
PART = 1024  # scenes of one file of a pool


def fit_vae(plan: Plan, device: torch.device, file: Path) -> Fit:
    """Set up the VAE: crops of pictures in both styles, with slightly noisy latents."""
    torch.manual_seed(plan.seed)
    vae = model.build_vae(VAE_WIDTHS)
    model.begin_vae(vae)
    vae.to(device, memory_format=torch.channels_last)
    vae.vae_scale.requires_grad_(False)
    vae.vae_shift.requires_grad_(False)
    pictures = plan.batch // 2
    cells = CROP // 8

    def draw(step: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        seeds = torch.arange(step * pictures, (step + 1) * pictures, device=device) % POOL_SEED
        whole = paint(draw_scenes(seeds), SIZE, FLAT if step % PAPER_EVERY else PAPER).picture
        places = torch.randint(0, SIZE - CROP + 1, (4,), generator=generator, device=device).tolist()
        crops = [whole[:, :, y : y + CROP, x : x + CROP] for y, x in (places[:2], places[2:])]
        picture = torch.cat(crops).contiguous(memory_format=torch.channels_last)
        noise = LATENT_NOISE * torch.randn((plan.batch, 4, cells, cells), generator=generator, device=device)
        return picture, noise, torch.full((), max(0.0, 1.0 - step / COLOUR_START), device=device)

    def loss(picture: Tensor, noise: Tensor, lead: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            latent = vae.taesd_encoder(picture).float()
            again = vae.taesd_decoder(latent + noise).float()
        colour = functional.avg_pool2d(picture, 8) * 3.0 - 1.5
        miss = 0.5 * (again - picture).abs().mean() + 6.0 * functional.mse_loss(again, picture)
        stray = functional.relu(latent.abs() - 2.5).mean()
        return miss + lead * functional.mse_loss(latent[:, :3], colour) + 0.1 * stray

    return Fit(vae, plan, draw, loss, file)


@torch.no_grad()
def finished_vae(state: State, device: torch.device, count: int) -> State:
    """Round a trained VAE to fp16 and set scale and shift so that the latents of `count` scenes have deviation 1."""
    state = half(state)
    latent = encode(loaded_vae(state, device), torch.arange(count, device=device), FLAT)[0].float()
    # With scale 1 and shift 0 these latents already carry SD1's factor, so their deviation is the scale itself.
    mean, deviation = float(latent.mean()), float(latent.std())
    state["vae_scale"] = torch.tensor(deviation)
    state["vae_shift"] = torch.tensor(-mean / (deviation * model.LATENT_SCALE))
    return state


@torch.no_grad()
def encode(vae: nn.Module, seeds: Tensor, style: Style) -> tuple[Tensor, Facts]:
    """Paint N scenes and encode them as the denoiser sees them: latents (N, 4, 16, 16) half, and what is to be seen."""
    latents, known = [], []
    for part in seeds.split(CHUNK):
        scenes = draw_scenes(part)
        painted = paint(scenes, SIZE, style)
        latents.append(latents_of(vae, painted.picture))
        known.append(facts(scenes, painted.region))
    return torch.cat(latents), Facts.joined(known)


def latents_of(vae: nn.Module, picture: Tensor) -> Tensor:
    """Encode pictures (B, 3, H, W); (B, 4, H / 8, W / 8) half."""
    latent = vae.taesd_encoder(picture.contiguous(memory_format=torch.channels_last)).float()
    return ((latent / vae.vae_scale + vae.vae_shift) * model.LATENT_SCALE).half().contiguous()


@dataclass(frozen=True)
class Pool:
    """N scenes: their latents (N, 4, 16, 16) half, of deviation 1, and what is to be seen, on the CPU."""

    latent: Tensor
    facts: Facts


def build_pool(vae: State, count: int, device: torch.device, style: Style, folder: Path, team: Team) -> Pool:
    """Make the pool of training scenes, each process its part, or read what an earlier run has written."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(POOL_SEED, POOL_SEED + count, PART)
    files = [folder / f"{start - POOL_SEED}.safetensors" for start in starts]
    for start, file in list(zip(starts, files, strict=True))[team.rank :: team.workers]:
        if not file.exists():
            seeds = torch.arange(start, min(start + PART, POOL_SEED + count), device=device)
            latent, known = encode(loaded_vae(vae, device), seeds, style)
            columns = {name: values.to("cpu", torch.int16).contiguous() for name, values in vars(known).items()}
            write({"latent": latent.cpu(), **columns}, file)
    team.wait()
    parts = [load_file(file) for file in files]
    latent = torch.cat([part.pop("latent") for part in parts]).to(device)
    known = [Facts(**{name: values.long() for name, values in part.items()}) for part in parts]
    return Pool(latent, Facts.joined(known))


def fit_denoiser(plan: Plan, pool: Pool, device: torch.device, file: Path, begin: State | None = None) -> Fit:
    """Set up the denoiser: velocity prediction at uniform times, captions drawn anew at every step, in fp32."""
    torch.manual_seed(plan.seed)
    denoiser = Denoiser(len(TOKEN_IDS))
    if begin is not None:
        denoiser.load_state_dict(begin)
    denoiser.to(device)
    alphas = model.alphas(device)
    drop = Drop()

    def draw(step: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        index = torch.randint(len(pool.facts), (plan.batch,), generator=generator, device=device)
        texts = captions(pool.facts.pick(index.cpu()), random.Random((plan.seed << 32) + step), drop)
        time = torch.randint(1000, (plan.batch,), generator=generator, device=device)
        x, velocity = noisy(pool.latent[index].float(), time, alphas, generator)
        tokens = rows_of(texts).to(device)
        return x, time, tokens, velocity

    def loss(x: Tensor, time: Tensor, tokens: Tensor, velocity: Tensor) -> Tensor:
        return functional.mse_loss(denoiser(x, time, tokens), velocity)

    return Fit(denoiser, plan, draw, loss, file)
