"""A training paused for a sampler: models unloaded meanwhile are loaded whole again, and the run does not notice."""

from __future__ import annotations

import pytest
import torch

from . import tiny
from .lessons import create, equal, train

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("output")]


def with_lora(model):
    """A clone whose LoRA changes a weight: unloading restores the weight, loading changes it again."""
    patched = model.clone()
    name = "diffusion_model.input_blocks.1.0.in_layers.2.weight"
    own = patched.model.state_dict()[name]
    patched.add_patches({name: (torch.full_like(own, 0.1),)})
    return patched


def test_weights_unloaded_in_inference_mode_train_on_bit_for_bit(sd, monkeypatch):
    import comfy.model_management as management
    from t2i_adapter_pack.nodes.training import run

    model, seen = with_lora(sd), []
    adapter = create(model)
    plain, losses = train(model, adapter, run_name="plain").args

    def progress(trainer, loaded, *_):
        def after(step, _loss):
            before = torch.get_rng_state()
            with run.paused(loaded):
                assert not management.in_training
                tiny.sample(loaded, tiny.latent(8, 8), steps=1)
                with torch.inference_mode():
                    management.unload_all_models()
                    torch.manual_seed(step)
                    # As loading does on some devices: a weight that autograd refuses.
                    out = loaded.model.diffusion_model.out[2]
                    out.weight = torch.nn.Parameter(out.weight.clone(), requires_grad=False)
            assert torch.equal(torch.get_rng_state(), before)
            assert management.in_training
            weights = list(loaded.model.diffusion_model.parameters())
            seen.append(any(weight.is_inference() or weight.requires_grad for weight in weights))

        return after

    monkeypatch.setattr(run, "progress_callback", progress)
    paused, same = train(model, adapter, run_name="paused").args
    assert seen == [False] * 4
    assert same == losses
    assert equal(paused, plain)
    assert not management.in_training
