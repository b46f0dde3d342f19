"""Adapters for transformers are made, trained, saved and loaded by the same nodes as those for UNets."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import tiny, transformers

pytestmark = pytest.mark.host
FAMILIES = tuple(transformers.CONFIGS)


@pytest.fixture
def output_folder(tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    return tmp_path


def made(patched: Any, size: str = "tiny") -> Any:
    from t2i_adapter_pack.nodes.train import CreateT2IAdapter

    return CreateT2IAdapter.execute(patched, size, "3", "sketch", 0)[0]


def trained(patched: Any, adapter: Any, **settings: Any) -> tuple[Any, list[float]]:
    from t2i_adapter_pack.nodes.train import TrainT2IAdapter

    latent = torch.randn(transformers.latent(patched, 64, 64, 4).shape, generator=torch.Generator().manual_seed(5))
    values = {"steps": 4, "batch_size": 2, "learning_rate": 1e-2, "run_name": "dit", "seed": 1, **settings}
    lists = {name: [value] for name, value in values.items()}
    inputs = [patched], [adapter], [{"samples": latent}], [tiny.hint(64, 64, 4)], [transformers.conditioning(1)]
    output = TrainT2IAdapter.execute(*inputs, **lists)
    return output[0], output[1]["loss"] if isinstance(output[1], dict) else output[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_adapter_changes_nothing_and_a_trained_one_does(family, output_folder):
    patched, latent = transformers.model(family), None
    latent = transformers.latent(patched, 64, 64)
    prompts = {"positive": transformers.conditioning(1), "negative": transformers.conditioning(2)}

    def picture(adapter: Any) -> torch.Tensor:
        applied = patched if adapter is None else tiny.apply(patched, adapter, tiny.hint(64, 64))
        return tiny.sample(applied, latent, cfg=3.0, steps=2, scheduler="simple", **prompts)

    adapter, bare = made(patched), picture(None)
    assert adapter.info.family == family
    assert torch.equal(picture(adapter), bare)
    after, losses = trained(patched, adapter)
    assert torch.tensor(losses).isfinite().all()
    assert not torch.allclose(picture(after), bare, atol=1e-4)
    assert torch.equal(picture(None), bare)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("again", [False, True], ids=["stored", "recomputed"])
def test_gradients_are_those_of_finite_differences(family, again):
    from t2i_adapter_pack.nodes import host
    from t2i_adapter_pack.nodes.sampling.attach import sites_in
    from t2i_adapter_pack.nodes.training.frozen_denoiser import frozen_denoiser, prompt_rows
    from t2i_adapter_pack.training.memory_savers import out_of_place, recomputing

    patched, adapter = transformers.model(family), tiny.adapter(transformers.adapter_config(family))
    latents = transformers.latent(patched, 64, 64)
    flat = torch.randn_like(latents.squeeze(2) if latents.ndim == 5 else latents)
    width = adapter.network.config.channels[0]
    generator = torch.Generator().manual_seed(7)
    features = [torch.randn(1, width, 4, 4, generator=generator).requires_grad_() for _ in range(4)]
    ways = [torch.randn(1, width, 4, 4, generator=generator) for _ in range(4)]
    with host.ready_to_train(patched) as loaded:
        denoiser = frozen_denoiser(loaded, sites_in(patched, adapter))
        rows = prompt_rows(patched, transformers.conditioning(1), latents)

        def loss(levels: list[torch.Tensor]) -> torch.Tensor:
            return denoiser.denoise(flat, torch.tensor([600]), rows, levels).square().mean()

        with out_of_place(denoiser.blocks), recomputing(denoiser.blocks if again else ()):
            there = loss(features)
        gradients = torch.autograd.grad(there, features)
        slope = sum((gradient * way).sum() for gradient, way in zip(gradients, ways, strict=True))
        with torch.no_grad():
            assert torch.equal(loss(features), there)  # nothing relied on being written in place
            step = 1e-2
            after, before = (
                loss([level + sign * step * way for level, way in zip(features, ways, strict=True)]) for sign in (1, -1)
            )
    torch.testing.assert_close((after - before) / (2 * step), slope, rtol=2e-2, atol=1e-4)
