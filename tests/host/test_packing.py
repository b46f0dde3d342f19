"""Each prompt gets its own residuals, however ComfyUI packs prompts into calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
KINDS = ("SD", "SDXL")


@pytest.fixture(params=KINDS)
def case(request, models) -> dict[str, Any]:
    """A MODEL with a batch of three hints for three pictures, and the same by hand."""
    kind = request.param
    config, image = tiny.adapter_config(kind), tiny.hint(64, 128, 3)
    features = oracle.reference_features(kind, tiny.adapter_weights(config), image)
    adapter = tiny.adapter(config)
    return {
        "bare": models[kind],
        "ours": tiny.apply(models[kind], adapter, image),
        "oracle": oracle.inject_features(models[kind], kind, features),
        "count": tiny.Count(adapter.network),
    }


def prompts(*seeds: int) -> list[Any]:
    """Several prompts at once."""
    return [prompt for seed in seeds for prompt in tiny.conditioning(seed)]


@pytest.mark.parametrize(
    ("values", "chunks"),
    [
        ({}, [1, 0]),
        ({"cfg": 1.0}, [0]),
        ({"positive": prompts(1, 3, 4)}, [1, 0, 0, 0]),
        ({"positive": prompts(1, 3), "negative": prompts(2, 5)}, [1, 1, 0, 0]),
        ({"positive": prompts(1, 3, 4), "cfg": 1.0}, [0, 0, 0]),
    ],
    ids=["two prompts", "positive alone", "three positives", "two of each", "three positives alone"],
)
def test_packed_calls_give_each_picture_its_hint(case, values, chunks):
    latent = tiny.latent(8, 16, 3)
    calls = oracle.chunks_of_calls(case["ours"], lambda model: tiny.sample(model, latent, steps=2, **values))
    assert calls == [chunks] * 2
    result = tiny.sample(case["ours"], latent, steps=2, **values)
    torch.testing.assert_close(result, tiny.sample(case["oracle"], latent, steps=2, **values), **tiny.CLOSE)
    assert case["count"].calls == 1


@pytest.mark.parametrize("fits", [lambda _: False, lambda call: call % 3 == 0], ids=["always", "now and then"])
def test_split_calls_give_each_picture_its_hint(case, monkeypatch, fits):
    latent, positive = tiny.latent(8, 16, 3), prompts(1, 3, 4)
    expected = tiny.sample(case["oracle"], latent, positive=positive, steps=2)
    oracle.split_calls(monkeypatch, fits)
    calls: list[int] = []
    spied = oracle.spied(case["ours"], lambda h, _: calls.append(h.shape[0]))
    torch.testing.assert_close(tiny.sample(spied, latent, positive=positive, steps=2), expected, **tiny.CLOSE)
    assert min(calls) == 3
    assert len(calls) > 4
    assert case["count"].calls == 1


def test_pictures_beyond_the_hints_begin_again(sd):
    config, image, latent = tiny.adapter_config(), tiny.hint(64, 128, 2), tiny.latent(8, 16, 5)
    features = oracle.reference_features("SD", tiny.adapter_weights(config), image)
    again = [feature[[0, 1, 0, 1, 0]] for feature in features]
    result = tiny.sample(tiny.apply(sd, tiny.adapter(config), image), latent, steps=2)
    expected = tiny.sample(oracle.inject_features(sd, "SD", again), latent, steps=2)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)


def test_hints_beyond_the_pictures_are_not_computed(sd):
    adapter, image, latent = tiny.adapter(tiny.adapter_config()), tiny.hint(64, 128, 3), tiny.latent(8, 16, 2)
    rows: list[int] = []
    adapter.network.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[0]))
    result = tiny.sample(tiny.apply(sd, adapter, image), latent, steps=2)
    assert rows == [2]
    torch.testing.assert_close(
        result, tiny.sample(tiny.apply(sd, adapter, image[:2].clone()), latent, steps=2), **tiny.CLOSE
    )


def test_a_batch_of_pictures_is_what_each_is_alone(sd):
    """Pictures of a batch are independent: noise and hint of picture i decide picture i."""
    import comfy.sample

    adapter, image, latent = tiny.adapter(tiny.adapter_config()), tiny.hint(64, 128, 2), tiny.latent(8, 16, 2)
    together = tiny.sample(tiny.apply(sd, adapter, image), latent, steps=2)
    noise = comfy.sample.prepare_noise(latent, 0)
    patched = tiny.apply(sd, adapter, image[1:].clone())
    with torch.inference_mode():
        alone = comfy.sample.sample(
            patched, noise[1:], 2, 5.0, "euler", "normal", tiny.conditioning(1), tiny.conditioning(2), latent[1:],
            disable_pbar=True, seed=0,
        )  # fmt: skip
    torch.testing.assert_close(together[1:], alone, **tiny.CLOSE)


def test_an_adapter_costs_no_call_of_the_unet(case):
    latent = tiny.latent(8, 16, 3)

    def calls(model: Any) -> list[list[int]]:
        return oracle.chunks_of_calls(model, lambda spied: tiny.sample(spied, latent, sampler="heun", steps=2))

    assert calls(case["ours"]) == calls(case["bare"])
