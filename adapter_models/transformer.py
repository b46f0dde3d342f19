"""The transformer of the style adapter and the CoAdapter fuser, and how published files name its weights."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..common.weights import LayerOperations

# The number of heads can't be read from the shapes; every published file has eight.
HEADS = 8
# Some weights of the published files belong to no layer. Here each has its own layer, because a host that loads a
# network in parts moves whole layers. Pairs of patterns: published name -> own name, and back.
_OWN = (
    (r"^(\w+_embedding|\w*proj)$", r"\1.weight"),
    (r"\.attn\.in_proj_(weight|bias)$", r".attn.in_proj.\1"),
)
_PUBLISHED = (
    (r"^(\w+_embedding|\w*proj)\.weight$", r"\1"),
    (r"\.attn\.in_proj\.(weight|bias)$", r".attn.in_proj_\1"),
)


def _rename(name: str, patterns: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return name


class PublishedNetwork(nn.Module):
    """A network whose state dict uses the names of the published files instead of its layers'."""

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the weights by their published names."""
        state = super().state_dict(*args, **kwargs)
        return OrderedDict((_rename(name, _PUBLISHED), value) for name, value in state.items())

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights by their published names; see :meth:`torch.nn.Module.load_state_dict`."""
        own = {_rename(name, _OWN): value for name, value in state_dict.items()}
        return super().load_state_dict(own, strict=strict, assign=assign)


class BareWeight(nn.Module):
    """A weight tensor outside any layer.

    Args:
        shape: Its shape.
        scale: Standard deviation of its initial values; 0 for zeros.
    """

    def __init__(self, *shape: int, scale: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape) * scale)

    def forward(self, like: Tensor) -> Tensor:
        """Return a copy of the weights with another tensor's device and precision."""
        return self.weight.to(like)


class TokenAttention(nn.Module):
    """Self-attention over all tokens.

    Args:
        width: Width of a token.
        operations: Namespace that the layers come from.
    """

    def __init__(self, width: int, operations: LayerOperations) -> None:
        super().__init__()
        self.in_proj = operations.Linear(width, 3 * width)
        self.out_proj = operations.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, tokens, width) -> the same shape."""
        parts = self.in_proj(x).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class QuickGelu(nn.Module):
    """CLIP's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same."""
        return x * torch.sigmoid(1.702 * x)


class TransformerLayer(nn.Module):
    """One transformer layer: attention and an MLP, each pre-normalised and added to its input.

    Args:
        width: Width of a token.
        operations: Namespace that the layers come from.

    Source: TencentARC/T2I-Adapter ``ResidualAttentionBlock``, which is CLIP's.
    """

    def __init__(self, width: int, operations: LayerOperations) -> None:
        super().__init__()
        self.attn = TokenAttention(width, operations)
        self.ln_1 = operations.LayerNorm(width)
        layers: list[tuple[str, nn.Module]] = [
            ("c_fc", operations.Linear(width, 4 * width)),
            ("gelu", QuickGelu()),
            ("c_proj", operations.Linear(4 * width, width)),
        ]
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.ln_2 = operations.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, tokens, width) -> the same shape."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


def blocks(count: int, width: int, operations: LayerOperations) -> nn.Sequential:
    """Build a transformer."""
    return nn.Sequential(*(TransformerLayer(width, operations) for _ in range(count)))


def count_blocks(names: Mapping[str, object]) -> int:
    """Count the layers in a state dict."""
    found = (re.match(r"transformer_layes\.(\d+)\.", name) for name in names)
    return len({match[1] for match in found if match})


def on_meta(make: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a network's weights without allocating them."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in make().state_dict().items()}
