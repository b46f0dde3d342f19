"""Strengths outside of a precision's range, and empty batches, are refused before the first step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ..host import companions, tiny

pytestmark = pytest.mark.host
LATENT, PIXELS = (8, 8), (64, 64)
# For each precision, a strength inside its range, and one that would give NaN.
BOUNDS = {torch.float32: (1e10, 1e30), torch.bfloat16: (1e10, 1e30), torch.float16: (50.0, 1e5)}


@pytest.fixture(scope="module")
def unets(inside_comfyui) -> dict[Any, Any]:
    """MODELs by their compute precision."""
    made = {dtype: tiny.model(manual_cast=dtype) for dtype in BOUNDS}
    assert all(model.model.get_dtype_inference() == dtype for dtype, model in made.items())
    return made


@pytest.fixture(scope="module")
def adapter(inside_comfyui) -> Any:
    return tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd14v1")


def weighted(*factors: float, **values: Any) -> Any:
    """T2I_WEIGHTS of the two nodes: level weights of some factors, and a schedule of the last."""
    from t2i_adapter_pack.nodes.weights import T2IAdapterSchedule, T2IAdapterWeights

    level, positive, end = factors
    levels = {"preset": "custom", **{f"level_{number}": level for number in range(1, 5)}}
    schedule = T2IAdapterSchedule.execute(1.0, end, "linear", **values)[0]
    return T2IAdapterWeights.execute(levels, positive, 1.0, schedule)[0]


def calls_until_refused(model: Any, match: str = "can hold", **values: Any) -> int:
    """Sample; return the number of UNet calls before the run was refused."""
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    count = tiny.Count(model.model.diffusion_model)
    with pytest.raises(AdapterError, match=match):
        tiny.sample(model, tiny.latent(*LATENT), steps=2, **values)
    return count.calls


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
def test_a_strength_beyond_the_precision_is_refused_and_one_within_makes_a_picture(unets, adapter, dtype):
    model, image = unets[dtype], tiny.hint(*PIXELS)
    within, beyond = BOUNDS[dtype]
    for strength in (within, -within):
        picture = tiny.sample(tiny.apply(model, adapter, image, strength=strength), tiny.latent(*LATENT), steps=2)
        assert torch.isfinite(picture).all()
    for strength in (beyond, -beyond):
        assert calls_until_refused(tiny.apply(model, adapter, image, strength=strength)) == 0


@pytest.mark.parametrize("factors", [(1e5, 1.0, 1.0), (1.0, 1e5, 1.0), (1.0, 1.0, 1e5), (50.0, 50.0, 50.0)])
def test_a_product_of_factors_beyond_the_precision_is_refused_before_the_first_step(unets, adapter, factors):
    patched = tiny.apply(unets[torch.float16], adapter, tiny.hint(*PIXELS), weights=weighted(*factors))
    assert calls_until_refused(patched) == 0


def test_a_curve_beyond_the_precision_is_refused_before_the_first_step(unets, adapter):
    curve = {"points": [[0.0, 1.0], [0.5, 1e5], [1.0, 1.0]]}
    patched = tiny.apply(unets[torch.float16], adapter, tiny.hint(*PIXELS), weights=weighted(1, 1, 1, curve=curve))
    assert calls_until_refused(patched) == 0


def test_adapters_that_add_up_beyond_the_precision_are_refused_and_their_mean_is_not(unets, adapter):
    model, image = unets[torch.float16], tiny.hint(*PIXELS)
    peak = max(adapter.features(image.movedim(-1, 1), 1, PIXELS, "crop", device=torch.device("cpu"),
                                dtype=torch.float16).levels[-1].abs().flatten().tolist())  # fmt: skip
    strength = 6000 / peak
    patched = tiny.apply(model, adapter, image, strength=strength)
    assert torch.isfinite(tiny.sample(patched, tiny.latent(*LATENT), steps=1)).all()
    both = tiny.apply(patched, adapter, image, strength=strength)
    assert calls_until_refused(both) == 0
    mean, _ = companions.combine(both, "mean")
    assert torch.isfinite(tiny.sample(mean, tiny.latent(*LATENT), steps=1)).all()


def test_a_fused_strength_beyond_the_precision_is_refused(unets, adapter):
    patched = tiny.apply(unets[torch.float16], adapter, tiny.hint(*PIXELS), strength=1e5)
    fused, _ = companions.combine(patched, "coadapter", fuser=companions.fuser())
    assert calls_until_refused(fused) == 0


def test_a_control_net_of_a_strength_beyond_the_precision_is_refused(unets, adapter):
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    control = T2IAdapterToControlNet.execute(adapter)[0]
    texts = (tiny.conditioning(1), tiny.conditioning(2))
    for strength, refused in ((50.0, False), (1e5, True)):
        positive, negative = tiny.apply_core(*texts, control, tiny.hint(*PIXELS), strength=strength)
        prompts = {"positive": positive, "negative": negative}
        if refused:
            assert calls_until_refused(unets[torch.float16], **prompts) == 0
        else:
            assert torch.isfinite(tiny.sample(unets[torch.float16], tiny.latent(*LATENT), steps=1, **prompts)).all()


def test_products_beyond_every_number_are_refused_where_they_are_multiplied(inside_comfyui):
    from t2i_adapter_pack.adapter_models.errors import AdapterError
    from t2i_adapter_pack.nodes.weights import T2IAdapterWeights

    first = T2IAdapterWeights.execute({"preset": "uniform"}, 1e200, 1.0)[0]
    with pytest.raises(AdapterError, match="got inf; expected a number"):
        T2IAdapterWeights.execute({"preset": "uniform"}, 1e200, 1.0, first)


@pytest.mark.parametrize("route", ["model", "control"])
@pytest.mark.parametrize("shape", [(0, 4, 8, 8), (1, 4, 0, 8), (1, 4, 8, 0)], ids=str)
def test_a_latent_of_nothing_is_refused(sd, adapter, route, shape):
    from t2i_adapter_pack.adapter_models.errors import AdapterError
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    prompts = {}
    patched = tiny.apply(sd, adapter, tiny.hint(*PIXELS))
    if route == "control":
        control = T2IAdapterToControlNet.execute(adapter)[0]
        texts = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), control, tiny.hint(*PIXELS))
        patched, prompts = sd, dict(zip(("positive", "negative"), texts, strict=True))
    with pytest.raises(AdapterError, match=r"got a (batch of 0 latents|latent of .* cells); expected at least one"):
        tiny.sample(patched, torch.zeros(shape), steps=1, **prompts)
