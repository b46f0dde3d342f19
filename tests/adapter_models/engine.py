"""Small adapters ready for use, and the calls that a sampling run makes."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from t2i_adapter_pack.adapter_models import networks, stack
from t2i_adapter_pack.adapter_models.adapter import T2IAdapter
from t2i_adapter_pack.adapter_models.config import AdapterConfig
from t2i_adapter_pack.adapter_models.families import UNetBlock
from t2i_adapter_pack.adapter_models.features import FeatureCache
from torch import Tensor

from . import samples

LEVELS = 4
CPU = torch.device("cpu")
SD_SITES = (2, 5, 8, 11)


def adapter(config: AdapterConfig | None = None, seed: int = 0, **values: object) -> T2IAdapter:
    """An adapter with random weights."""
    config = config or samples.full()
    network = networks.build_adapter(config).eval().requires_grad_(False)
    network.load_state_dict(samples.weights(config, seed))
    return T2IAdapter(network, SimpleNamespace(name=f"adapter {seed}"), FeatureCache(CPU), **values)


def pictures(count: int = 1, height: int = 64, width: int = 64, seed: int = 0) -> Tensor:
    """Random condition images."""
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def use(applied: T2IAdapter, hint: Tensor, **values: object) -> stack.AppliedAdapter:
    """An adapter applied to an SD UNet."""
    config = applied.network.config
    sites = tuple(
        UNetBlock("input", index, width, stride)
        for index, width, stride in zip(SD_SITES, config.channels, config.strides, strict=False)
    )
    return stack.AppliedAdapter(applied, hint, sites, **values)


def run(*uses: stack.AppliedAdapter, pictures: int = 1) -> stack.ResidualComputer:
    """A sampling run of a batch of pictures."""
    return stack.ResidualComputer(uses, 8, pictures)


def chunk(pictures: int = 1, size: tuple[int, int] = (8, 8), area=None, first: int = 0) -> stack.Chunk:
    """The pictures of one prompt."""
    return stack.Chunk(size, area, tuple(range(first, first + pictures)))


def call(
    *weights: float, chunks: tuple[stack.Chunk, ...] | None = None, dtype: torch.dtype = torch.float32
) -> stack.Call:
    """A call of the UNet; of one picture unless chunks say otherwise; each weight for all levels of its use."""
    return stack.Call(chunks or (chunk(),), tuple((weight,) * LEVELS for weight in weights), CPU, dtype)


class Forwards:
    """Counts how often the network of an adapter runs, and with how many pictures."""

    def __init__(self, applied: T2IAdapter) -> None:
        self.batches: list[int] = []
        applied.network.register_forward_pre_hook(lambda _, args: self.batches.append(args[0].shape[0]))
