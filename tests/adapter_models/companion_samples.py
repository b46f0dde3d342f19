"""Style adapters and fusers by hand: published names and shapes, and forwards written out from their description.

Nothing here comes from the code under test.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

# (tokens, width, context, layers) and (width, channels, tasks, layers) of the published files.
PUBLISHED_STYLE = (8, 1024, 768, 3)
PUBLISHED_FUSER = (768, (320, 640, 1280, 1280), 16, 3)
STYLE, FUSER = (8, 32, 24, 3), (24, (8, 16, 32, 32), 16, 3)

Shapes = dict[str, tuple[int, ...]]


def layer_shapes(width: int, layers: int) -> Shapes:
    """The transformer of both, with the spelling of the files."""
    found: Shapes = {f"{norm}.{part}": (width,) for norm in ("ln_pre", "ln_post") for part in ("weight", "bias")}
    for layer in range(layers):
        inside: Shapes = {
            "attn.in_proj_weight": (3 * width, width),
            "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width),
            "attn.out_proj.bias": (width,),
            "mlp.c_fc.weight": (4 * width, width),
            "mlp.c_fc.bias": (4 * width,),
            "mlp.c_proj.weight": (width, 4 * width),
            "mlp.c_proj.bias": (width,),
            **{f"ln_{number}.{part}": (width,) for number in (1, 2) for part in ("weight", "bias")},
        }
        found |= {f"transformer_layes.{layer}.{name}": shape for name, shape in inside.items()}
    return found


def style_shapes(tokens: int, width: int, context: int, layers: int) -> Shapes:
    """A style adapter's file."""
    return {"style_embedding": (1, tokens, width), "proj": (width, context), **layer_shapes(width, layers)}


def fuser_shapes(width: int, channels: tuple[int, ...], tasks: int, layers: int) -> Shapes:
    """A fuser's file."""
    found = {"task_embedding": (tasks, width), "positional_embedding": (len(channels), width)}
    found |= {"seq_proj": (width, width), **layer_shapes(width, layers)}
    for level, count in enumerate(channels):
        found[f"spatial_feat_mapping.{level}.1.weight"] = (width, count)
        found[f"spatial_feat_mapping.{level}.1.bias"] = (width,)
        found[f"spatial_ch_projs.{level}.weight"] = (count, width)
        found[f"spatial_ch_projs.{level}.bias"] = (count,)
    return found


def random_weights(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Random numbers of a sensible size; norms near one."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        is_norm = ".ln_" in f".{name}" and name.endswith("weight")
        made[name] = 1 + 0.1 * noise if is_norm else noise / math.prod(shape[1:]) ** 0.5
    return made


def zero_outputs(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A fuser's weights as they are before training."""
    return {
        name: torch.zeros_like(value) if name.startswith(("seq_proj", "spatial_ch_projs")) else value
        for name, value in weights.items()
    }


def transformer(weights: dict[str, Tensor], x: Tensor, layers: int, heads: int = 8) -> Tensor:
    """Layers of CLIP's kind on (B, L, C), written with matrix products."""

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = norm(x, "ln_pre")
    for layer in (f"transformer_layes.{number}" for number in range(layers)):
        y = norm(x, f"{layer}.ln_1")
        parts = y @ weights[f"{layer}.attn.in_proj_weight"].T + weights[f"{layer}.attn.in_proj_bias"]
        q, k, v = (part.reshape(*part.shape[:2], heads, -1) for part in parts.split(x.shape[-1], dim=-1))
        scores = torch.einsum("bihc,bjhc->bhij", q, k) / q.shape[-1] ** 0.5
        mixed = torch.einsum("bhij,bjhc->bihc", scores.softmax(-1), v).reshape(x.shape)
        x = x + mixed @ weights[f"{layer}.attn.out_proj.weight"].T + weights[f"{layer}.attn.out_proj.bias"]
        y = norm(x, f"{layer}.ln_2") @ weights[f"{layer}.mlp.c_fc.weight"].T + weights[f"{layer}.mlp.c_fc.bias"]
        y = y / (1 + (-1.702 * y).exp())
        x = x + y @ weights[f"{layer}.mlp.c_proj.weight"].T + weights[f"{layer}.mlp.c_proj.bias"]
    return norm(x, "ln_post")


def reference_style(weights: dict[str, Tensor], hidden: Tensor, layers: int = 3) -> Tensor:
    """(N, T, width) -> (N, tokens, context)."""
    extra = weights["style_embedding"]
    x = torch.cat([hidden, extra.repeat(hidden.shape[0], 1, 1)], dim=1)
    return transformer(weights, x, layers)[:, -extra.shape[1] :] @ weights["proj"]


def reference_fuse(
    weights: dict[str, Tensor], parts: list[tuple[int, list[Tensor] | Tensor]], layers: int = 3
) -> tuple[list[Tensor] | None, Tensor | None]:
    """Fuse (task, maps (B, C, h, w) or tokens (B, n, width)) as described; return the summed maps and all tokens."""
    rows = []
    for task, value in parts:
        if isinstance(value, Tensor):
            rows.append(value + weights["task_embedding"][task])
            continue
        seen = [
            functional.linear(
                functional.silu(level.mean((2, 3))),
                weights[f"spatial_feat_mapping.{number}.1.weight"],
                weights[f"spatial_feat_mapping.{number}.1.bias"],
            )
            for number, level in enumerate(value)
        ]
        rows.append(torch.stack(seen, 1) + weights["task_embedding"][task] + weights["positional_embedding"])
    x = transformer(weights, torch.cat(rows, 1), layers)
    maps, tokens, at = None, [], 0
    for (_, value), row in zip(parts, rows, strict=True):
        mine = x[:, at : at + row.shape[1]]
        at += row.shape[1]
        if isinstance(value, Tensor):
            tokens.append(value * (mine @ weights["seq_proj"] + 1))
            continue
        fused = []
        for number, level in enumerate(value):
            alpha = mine[:, number] @ weights[f"spatial_ch_projs.{number}.weight"].T
            alpha = alpha + weights[f"spatial_ch_projs.{number}.bias"]
            fused.append(level * (alpha[..., None, None] + 1))
        maps = fused if maps is None else [a + b for a, b in zip(maps, fused, strict=True)]
    return maps, torch.cat(tokens, 1) if tokens else None
