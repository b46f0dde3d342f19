"""Helpers of the training tests: nodes run as by ComfyUI, and training data."""

from __future__ import annotations

from typing import Any

import torch

from . import tiny

SETTINGS = {
    "steps": 4,
    "batch_size": 2,
    "learning_rate": 1e-3,
    "timesteps": "cubic",
    "prompt_dropout": 0.0,
    "condition_dropout": 0.0,
    "ema": 0.0,
    "gradient_accumulation": 1,
    "precision": "fp32",
    "seed": 3,
    "save_every": 0,
    "run_name": "run",
}


def create(model: Any, **values: Any) -> Any:
    from t2i_adapter_pack.nodes.train import CreateT2IAdapter

    with torch.inference_mode():
        return CreateT2IAdapter.execute(model, **{"size": "tiny", **values})[0]


def materials(count: int = 3, side: int = 64, seed: int = 0) -> dict[str, Any]:
    """Random pictures with their condition images, as inference tensors, which is what nodes hand to each other."""
    with torch.inference_mode():
        generator = torch.Generator().manual_seed(seed)
        latents = torch.randn(count, 4, side // 8, side // 8, generator=generator)
        prompts = [one for index in range(count) for one in tiny.conditioning(index)]
        return {"latents": [{"samples": latents}], "images": [tiny.hint(side, side, count)], "positive": [prompts]}


def train(model: Any, adapter: Any, **values: Any) -> Any:
    """Run the node as ComfyUI does: in inference mode, with a list for every input."""
    from t2i_adapter_pack.nodes.train import TrainT2IAdapter

    lists = {**materials(), **{name: [value] for name, value in SETTINGS.items()}}
    for name, value in values.items():
        lists[name] = value if name in ("latents", "images", "positive") else [value]
    with torch.inference_mode():
        return TrainT2IAdapter.execute([model], [adapter], **lists)


def weights(adapter: Any) -> dict[str, torch.Tensor]:
    return adapter.network.state_dict()


def equal(first: Any, second: Any) -> bool:
    mine, other = weights(first), weights(second)
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)


def save(adapter: Any, **values: Any) -> None:
    from t2i_adapter_pack.nodes.save import SaveT2IAdapter

    with torch.inference_mode():
        SaveT2IAdapter.execute(adapter, **values)


def features(adapter: Any, image: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return adapter.network(image)
