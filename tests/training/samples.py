"""A tiny adapter, a toy denoiser that its features can help, and a few examples."""

from __future__ import annotations

from typing import Any

import torch
from t2i_adapter_pack.adapter_models import networks
from t2i_adapter_pack.training.in_memory_dataset import training_set
from t2i_adapter_pack.training.loop import Trainer
from t2i_adapter_pack.training.loss import EPS, Denoiser
from t2i_adapter_pack.training.settings import Settings
from torch import nn

CONFIG = networks.AdapterConfig("full", 1, 8, (4, 8, 8, 8), (1, 2, 3), 1)
LIGHT = networks.AdapterConfig("light", 1, 8, (4, 8, 8, 8), (1, 2, 3), 2, (2, 4, 4, 4))


def alphas() -> torch.Tensor:
    """The variance that is left at each time, as Stable Diffusion's schedule has it."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


def adapter(seed: int = 0, config: networks.AdapterConfig = CONFIG) -> networks.Adapter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return networks.build_adapter(config)


class ToyUNet(nn.Module):
    """Predicts from latents, prompt and the features of all levels: a frozen net that conditions can help."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.enter = nn.Conv2d(4, width, 3, padding=1)
            self.prompt = nn.Linear(3, width)
            self.leave = nn.Conv2d(width, 4, 3, padding=1)

    def forward(self, noisy: Any, times: Any, prompts: Any, features: Any) -> torch.Tensor:
        h = self.enter(noisy) + self.prompt(prompts["context"]).mean(1)[..., None, None] + features[0]
        for level in features[1:]:
            h = h + nn.functional.interpolate(level.mean(1, keepdim=True), size=noisy.shape[-2:])
        return self.leave(torch.tanh(h + (times / 1000).view(-1, 1, 1, 1)))


def denoiser(**changes: Any) -> Denoiser:
    return Denoiser(
        **{"denoise": ToyUNet().requires_grad_(False), "alphas_cumprod": alphas(), "prediction": EPS, **changes}
    )


def parts(count: int = 4, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "latents": torch.randn(count, 4, 8, 8, generator=generator),
        "images": torch.rand(count, 1, 64, 64, generator=generator),
        "prompts": {"context": torch.randn(count, 5, 3, generator=generator)},
        "empty": {"context": torch.full((1, 5, 3), 9.0)},
        "config": CONFIG,
    }


def examples(count: int = 4, seed: int = 0, **changes: Any) -> Any:
    return training_set(**{**parts(count, seed), **changes})


def settings(**changes: Any) -> Settings:
    return Settings(**{"steps": 6, "batch_size": 2, "learning_rate": 1e-2, **changes})


def trainer(data: Any = None, unet: Any = None, begin: Any = None, **changes: Any) -> Trainer:
    cpu = torch.device("cpu")
    return Trainer(begin or adapter(), data or examples(), unet or denoiser(), settings(**changes), cpu)
