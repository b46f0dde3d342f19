"""The adapter computes in the precision of the UNet unless the loader says otherwise; its weights are never cast."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
HALVES = (torch.bfloat16, torch.float16)
LATENT, PIXELS = (8, 16), (64, 128)


@pytest.fixture(scope="module")
def half_models(inside_comfyui) -> dict[Any, Any]:
    """MODELs that compute in half precision."""
    return {(kind, dtype): tiny.model(kind, manual_cast=dtype) for kind in ("SD", "SDXL") for dtype in HALVES}


def at_site(model: Any, kind: str, level: int, **values: Any) -> torch.Tensor:
    """Output of a site in the first call, after all patches."""
    seen: list[torch.Tensor] = []
    spied = oracle.inject(model, kind, lambda at, h, _: seen.append(h.clone()) if at == level else None)
    tiny.sample(spied, tiny.latent(*LATENT), steps=1, **values)
    return seen[0]


@pytest.mark.parity
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_fp32_features_in_a_half_precision_unet_equal_core_to_one_rounding(half_models, kind, dtype):
    model, config, image = half_models[kind, dtype], tiny.adapter_config(kind), tiny.hint(*PIXELS)
    ours = tiny.apply(model, tiny.adapter(config, dtype=torch.float32), image)
    positive, negative = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), tiny.core_control(config), image)
    theirs = at_site(model, kind, 0, positive=positive, negative=negative)
    mine, bare = at_site(ours, kind, 0), at_site(model, kind, 0)
    assert mine.dtype == theirs.dtype == dtype
    # Core adds in float32; the residual here was rounded first: half a unit in its last place, and one of the sum's.
    unit = torch.finfo(dtype).eps
    bound = unit * torch.maximum(theirs.float().abs(), (theirs.float() - bare.float()).abs())
    assert ((mine.float() - theirs.float()).abs() <= bound).all()
    assert (mine - bare).abs().max() > 0.1


@pytest.mark.parity
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("choice", [None, torch.float32], ids=["auto", "fp32"])
def test_half_precision_stays_close_to_core(half_models, sd, dtype, choice):
    """As close as the UNet itself stays to float32 in that precision."""
    model, config, image = half_models["SD", dtype], tiny.adapter_config(), tiny.hint(*PIXELS)
    positive, negative = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), tiny.core_control(config), image)
    theirs = tiny.sample(model, tiny.latent(*LATENT), positive=positive, negative=negative)
    exact = tiny.sample(sd, tiny.latent(*LATENT), positive=positive, negative=negative)
    ours = tiny.sample(tiny.apply(model, tiny.adapter(config, dtype=choice), image), tiny.latent(*LATENT))
    rounding = (theirs - exact).square().mean().sqrt()
    assert (ours - theirs).square().mean().sqrt() <= 2 * rounding
    assert rounding < 0.05 * exact.std()


@pytest.mark.parametrize("unet", [torch.float32, *HALVES], ids=str)
@pytest.mark.parametrize("choice", [None, torch.float32, *HALVES], ids=str)
def test_the_dtype_choice_is_obeyed(half_models, models, unet, choice):
    model = half_models.get(("SDXL", unet), models["SDXL"])
    adapter = tiny.adapter(tiny.adapter_config("SDXL"), dtype=choice)
    inputs, residuals = [], []
    adapter.network.register_forward_hook(lambda _, given, __: inputs.append(given[0].dtype))
    before = {name: (weight.data_ptr(), weight.clone()) for name, weight in adapter.network.named_parameters()}
    spied = oracle.spied(
        tiny.apply(model, adapter, tiny.hint(*PIXELS)),
        lambda _, options: residuals.extend(tensor.dtype for tensor in oracle.residuals_of(options).values()),
    )
    tiny.sample(spied, tiny.latent(*LATENT), steps=1)
    assert inputs == [choice or unet]
    assert residuals == [unet] * 4
    for name, weight in adapter.network.named_parameters():
        pointer, value = before[name]
        assert weight.dtype == torch.float32
        assert weight.data_ptr() == pointer
        assert torch.equal(weight, value)


def test_one_adapter_serves_unets_of_different_precision(half_models, sd):
    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS)
    count = tiny.Count(adapter.network)
    exact = tiny.sample(tiny.apply(sd, adapter, image), tiny.latent(*LATENT), steps=2)
    tiny.sample(tiny.apply(half_models["SD", torch.bfloat16], adapter, image), tiny.latent(*LATENT), steps=2)
    again = tiny.sample(tiny.apply(sd, adapter, image), tiny.latent(*LATENT), steps=2)
    assert torch.equal(exact, again)
    assert count.calls == 2


def test_a_half_precision_file_keeps_its_weights_and_computes_in_the_unets_precision(sd, tmp_path):
    from safetensors.torch import save_file
    from t2i_adapter_pack.nodes.loading import adapters

    config, image = tiny.adapter_config(), tiny.hint(*PIXELS)
    weights = {name: weight.half() for name, weight in tiny.adapter_weights(config).items()}
    save_file(weights, tmp_path / "half.safetensors")
    adapter = adapters.wrap_adapter(tmp_path / "half.safetensors", "half", None, bgr=False, dtype=None)
    result = tiny.sample(tiny.apply(sd, adapter, image), tiny.latent(*LATENT), steps=2)
    features = oracle.reference_features("SD", {name: weight.float() for name, weight in weights.items()}, image)
    expected = tiny.sample(oracle.inject_features(sd, "SD", features), tiny.latent(*LATENT), steps=2)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    assert {weight.dtype for weight in adapter.network.parameters()} == {torch.float16}


def test_features_that_overflow_are_refused_with_the_way_out(half_models):
    from t2i_adapter_pack.adapter_models.errors import CorruptFileError

    adapter = tiny.adapter(tiny.adapter_config(), dtype=torch.float16)
    with torch.no_grad():
        adapter.network.conv_in.weight.mul_(1e6)
    with pytest.raises(CorruptFileError, match="Set dtype to fp32"):
        tiny.sample(tiny.apply(half_models["SD", torch.float16], adapter, tiny.hint(*PIXELS)), tiny.latent(*LATENT))


def test_features_that_the_unet_can_not_hold_are_refused_with_the_way_out(half_models):
    """Computed in fp32 they are finite; as zeros and infinities of an fp16 UNet they would make a black picture."""
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    adapter = tiny.adapter(tiny.adapter_config(), dtype=torch.float32)
    with torch.no_grad():
        for level in adapter.network.body:
            for parameter in level.parameters():
                parameter.mul_(10)
        adapter.network.conv_in.weight.mul_(1e6)
    with pytest.raises(AdapterError, match=r"features beyond 65504.*--bf16-unet"):
        tiny.sample(tiny.apply(half_models["SD", torch.float16], adapter, tiny.hint(*PIXELS)), tiny.latent(*LATENT))
