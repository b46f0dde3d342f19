"""Gradient checkpointing in ComfyUI's UNet keeps less memory, gives the same result, and leaves no trace."""

from __future__ import annotations

import pytest
import torch
from t2i_adapter_pack.dev.benchmarks.saved import saved_bytes

from . import tiny
from .lessons import create, equal, train

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("output")]


def touched(model):
    """Modules of a MODEL that have hooks or patched forwards."""
    return [name for name, module in model.model.named_modules() if "forward" in module.__dict__]


@pytest.mark.parametrize("kind", ["SD", "SDXL", "no middle"])
def test_the_result_is_equal_bit_for_bit_and_less_is_kept(kind):
    model = tiny.model(kind)
    adapter, kept, results = create(model), [], []
    for saving in (False, True):
        with saved_bytes(model.model.diffusion_model) as bytes_:
            results.append(train(model, adapter, steps=1, run_name=str(saving), gradient_checkpointing=saving).args)
        kept.append(bytes_.nbytes)
    (plain, losses), (saved, same) = results
    assert same == losses
    assert equal(saved, plain)
    assert kept[1] < 0.3 * kept[0]
    assert touched(model) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_models_in_half_precision_are_trained_for_alike(dtype):
    model = tiny.model("SD", manual_cast=dtype)
    plain = train(model, create(model), run_name="a")[0]
    assert equal(train(model, create(model), run_name="b", gradient_checkpointing=True)[0], plain)


def test_nothing_stays_after_an_error_in_the_middle_of_a_forward(sd, monkeypatch):
    from t2i_adapter_pack.nodes.training.injection import AddFeatures

    seen = []

    def fails(self, args):
        seen.extend(touched(sd))
        raise MemoryError

    monkeypatch.setattr(AddFeatures, "after_middle", fails)
    with pytest.raises(MemoryError):
        train(sd, create(sd), gradient_checkpointing=True)
    assert len(seen) > 20
    assert touched(sd) == []


def test_nothing_stays_after_a_cancel_and_the_run_goes_on_without_it(sd, monkeypatch):
    import comfy.model_management as management
    from t2i_adapter_pack.nodes.training import run

    adapter = create(sd)
    whole, losses = train(sd, adapter, run_name="whole").args

    def cancels(step, loss):
        raise management.InterruptProcessingException

    with monkeypatch.context() as patched:
        patched.setattr(run, "progress_callback", lambda *_: cancels)
        with pytest.raises(management.InterruptProcessingException):
            train(sd, adapter, gradient_checkpointing=True)
    assert touched(sd) == []
    resumed, again = train(sd, adapter).args
    assert again == losses
    assert equal(resumed, whole)


def test_attention_that_knows_no_gradients_is_not_used(sd, monkeypatch):
    """As with --use-sage-attention, whose kernels end every gradient."""
    from comfy.ldm.modules import attention

    @attention.wrap_attn
    def quantised(q, k, v, heads, **_):
        pytest.fail("attended without gradients")

    monkeypatch.setattr(attention, "optimized_attention", quantised)
    assert len(train(sd, create(sd), steps=1).args[1]["loss"]) == 1
