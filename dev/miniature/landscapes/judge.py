"""A small network that names what pictures show: the class of each pixel, and season and hour; trained on truth."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..loop import Fit, Plan
from ..stages import POOL_SEED
from .light import FLAT, HOURS, PAPER, SEASONS
from .paint import paint
from .scene import draw_scenes
from .stages import PAPER_EVERY, SIZE
from .truth import CLASSES, class_map

FILE = "judge.safetensors"
WIDTHS = (16, 24, 32, 48)
NOISE = 0.03  # generated pictures are less clean than painted ones


def block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    """Build a convolution with its norm."""
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1), nn.GroupNorm(8, outside), nn.SiLU())


class Judge(nn.Module):
    """Names classes per pixel and the light of the whole picture."""

    def __init__(self) -> None:
        super().__init__()
        sizes = list(zip((3, *WIDTHS[:-1]), WIDTHS, strict=True))
        self.down = nn.ModuleList(
            nn.Sequential(block(inside, outside, 1 + bool(number)), block(outside, outside))
            for number, (inside, outside) in enumerate(sizes)
        )
        self.up = nn.ModuleList(block(outside + inside, inside) for inside, outside in sizes[:0:-1])
        self.classes = nn.Conv2d(WIDTHS[0], len(CLASSES), 1)
        self.light = nn.Linear(2 * WIDTHS[-1], len(SEASONS) + len(HOURS))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) in [0, 1] -> class scores (B, 12, H, W), and scores of seasons and hours (B, 8)."""
        x, kept = picture * 2.0 - 1.0, []
        for step in self.down:
            x = step(x)
            kept.append(x)
        light = self.light(torch.cat((x.mean((2, 3)), x.amax((2, 3))), dim=1))
        for step, beside in zip(self.up, kept[-2::-1], strict=True):
            x = step(torch.cat((functional.interpolate(x, scale_factor=2.0), beside), dim=1))
        return self.classes(x), light


def fit_judge(plan: Plan, device: torch.device, file: Path) -> Fit:
    """Set up the judge's training on pictures in both styles, a little noisy."""
    torch.manual_seed(plan.seed)
    judge = Judge().to(device)

    def draw(step: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        first = POOL_SEED // 2 + step * plan.batch
        scenes = draw_scenes(torch.arange(first, first + plan.batch, device=device))
        painted = paint(scenes, SIZE, FLAT if step % PAPER_EVERY else PAPER)
        noise = NOISE * torch.randn(painted.picture.shape, generator=generator, device=device)
        return painted.picture + noise, class_map(painted.region), scenes.light.season, scenes.light.hour

    def loss(picture: Tensor, classes: Tensor, season: Tensor, hour: Tensor) -> Tensor:
        scores, light = judge(picture)
        seasons, hours = light.split((len(SEASONS), len(HOURS)), dim=1)
        lit = functional.cross_entropy(seasons, season) + functional.cross_entropy(hours, hour)
        return functional.cross_entropy(scores, classes) + 0.3 * lit

    return Fit(judge, plan, draw, loss, file)


@torch.no_grad()
def judged(judge: Judge, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Name classes (B, H, W), seasons (B,) and hours (B,) of pictures (B, 3, H, W)."""
    parts = [judge(part) for part in picture.split(16)]
    light = torch.cat([part[1] for part in parts])
    classes = torch.cat([part[0].argmax(1) for part in parts])
    return classes, light[:, : len(SEASONS)].argmax(1), light[:, len(SEASONS) :].argmax(1)
