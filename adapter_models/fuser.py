"""The CoAdapter fuser: a transformer that weighs the channels of combined adapters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.weights import LayerOperations
from .config import DEFAULT_OPERATIONS
from .transformer import BareWeight, PublishedNetwork, blocks, count_blocks


@dataclass(frozen=True)
class FuserConfig:
    """The shape of a fuser.

    Attributes:
        width: Width of its tokens, and of the prompt's: 768, that of SD1.x.
        channels: Width of each level of the adapters, fine to coarse.
        tasks: Number of conditions it distinguishes: 16.
        layers: Layers of the transformer: 3.
    """

    width: int
    channels: tuple[int, ...]
    tasks: int
    layers: int


@dataclass(frozen=True)
class FusedPart:
    """The fuser's input from one adapter.

    Attributes:
        task: Number of the condition; see :class:`.conditions.Condition`.
        values: The mean of each channel, one (B, C) per level, or the tokens of a style adapter, one (B, n, width);
            either way times the strength.
    """

    task: int
    values: tuple[Tensor, ...]

    @property
    def is_style(self) -> bool:
        """Whether it holds tokens instead of channel means."""
        return self.values[0].ndim == 3


class CoAdapterFuser(PublishedNetwork):
    """Weighs several adapters jointly. Prompt and step are no input, so one run serves a whole picture.

    Args:
        config: Its shape.
        operations: Namespace that the layers come from.

    Source: TencentARC/T2I-Adapter ``CoAdapterFuser``.
    """

    def __init__(self, config: FuserConfig, operations: LayerOperations = DEFAULT_OPERATIONS) -> None:
        super().__init__()
        self.config = config
        width, scale = config.width, config.width**-0.5
        self.task_embedding = BareWeight(config.tasks, width, scale=scale)
        self.positional_embedding = BareWeight(len(config.channels), width, scale=scale)
        self.spatial_feat_mapping = nn.ModuleList(
            nn.Sequential(nn.SiLU(), operations.Linear(channels, width)) for channels in config.channels
        )
        self.ln_pre = operations.LayerNorm(width)
        self.transformer_layes = blocks(config.layers, width, operations)  # spelled as in the files
        self.ln_post = operations.LayerNorm(width)
        # Initialised to zero, so that an untrained fuser gives the plain sum.
        self.seq_proj = BareWeight(width, width)
        self.spatial_ch_projs = nn.ModuleList(
            zeroed(operations.Linear(width, channels)) for channels in config.channels
        )

    def forward(self, parts: Sequence[FusedPart]) -> list[tuple[Tensor, ...]]:
        """Compute the gains of combined adapters; the order of the parts affects only rounding.

        Args:
            parts: One per adapter, all of one batch size B.

        Returns:
            The gains of each part: one (B, C) per level, or (B, n, width) for a style.
        """
        rows = [self._embed(part) for part in parts]
        x = self.ln_post(self.transformer_layes(self.ln_pre(torch.cat(rows, dim=1))))
        seen = x.split([row.shape[1] for row in rows], dim=1)
        return [self._gains(part, row) for part, row in zip(parts, seen, strict=True)]

    def _embed(self, part: FusedPart) -> Tensor:
        if part.is_style:
            tokens = part.values[0]
            return tokens + self.task_embedding(tokens)[part.task]  # type: ignore[no-any-return]
        levels = zip(self.spatial_feat_mapping, part.values, strict=True)
        tokens = torch.stack([mapping(mean) for mapping, mean in levels], dim=1)
        return tokens + self.task_embedding(tokens)[part.task] + self.positional_embedding(tokens)  # type: ignore[no-any-return]

    def _gains(self, part: FusedPart, seen: Tensor) -> tuple[Tensor, ...]:
        if part.is_style:
            return (seen @ self.seq_proj(seen) + 1.0,)
        return tuple(project(seen[:, level]) + 1.0 for level, project in enumerate(self.spatial_ch_projs))


def zeroed(layer: nn.Module) -> nn.Module:
    """Set a layer's weights to zero if it has any."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def read_fuser_config(shapes: Mapping[str, tuple[int, ...]]) -> FuserConfig:
    """Read the shape of a fuser from its tensors.

    Args:
        shapes: Shape of each tensor, by its published name.

    Raises:
        LookupError: A tensor is missing.
        ValueError: A tensor has the wrong number of dimensions.
    """
    tasks, width = shapes["task_embedding"]
    levels = sum(bool(re.fullmatch(r"spatial_ch_projs\.\d+\.weight", name)) for name in shapes)
    channels = tuple(shapes[f"spatial_ch_projs.{level}.weight"][0] for level in range(levels))
    return FuserConfig(width, channels, tasks, count_blocks(shapes))
