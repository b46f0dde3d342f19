"""A call of the UNet: the prompts packed into it, and everything else that its residuals depend on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .families import BlockPart
from .targets import LatentSize, Target
from .weights import Side

Area = tuple[int, int, int, int]  # height, width, top, left
Site = tuple[BlockPart, int]
# (K, R, C, h, w) by site: K is 1 or the number of chunks, R is 1 or the pictures of a chunk.
Residuals = dict[Site, Tensor]


@dataclass(frozen=True)
class Chunk:
    """The pictures of one prompt within a call of the UNet.

    Attributes:
        size: Height and width of the whole latent.
        area: The part of the latent this chunk covers, or None for all of it.
        frames: Index of each picture in the generated batch.
        side: Whether the prompt is positive or negative.
        silent: Add nothing for this prompt.
    """

    size: LatentSize
    area: Area | None
    frames: tuple[int, ...]
    side: Side = "positive"
    silent: bool = False


@dataclass(frozen=True)
class Call:
    """Everything the residuals of one UNet call depend on; equal calls share residuals.

    Attributes:
        chunks: The prompts packed into the call.
        weights: Factors of each adapter at this step, by level.
        device: Where to return the residuals.
        dtype: Precision of the UNet.
    """

    chunks: tuple[Chunk, ...]
    weights: tuple[tuple[float, ...], ...]
    device: torch.device
    dtype: torch.dtype

    def target(self, chunk: Chunk) -> Target:
        """Return the target of one of its chunks."""
        return Target(chunk.size, self.device, self.dtype)
