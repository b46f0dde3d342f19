"""A mask restricts where an adapter acts, for all pictures or per picture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from . import oracle, tiny

pytestmark = pytest.mark.host
LATENT = (8, 16)
PIXELS = (64, 128)


def masked(
    model: Any, adapter: Any, mask: torch.Tensor | None, *, count: int = 1, hints: int = 1, **values: Any
) -> Any:
    patched = tiny.apply(model, adapter, tiny.hint(*PIXELS, hints), mask=mask, **values)
    return tiny.sample(patched, tiny.latent(*LATENT, count), steps=2)


@pytest.fixture(params=["SD", "SDXL"])
def kind(request) -> str:
    return request.param


@pytest.mark.parametrize("size", [PIXELS, (8, 16), (50, 70), (512, 512)])
def test_a_white_mask_is_no_mask_bit_for_bit(models, kind, size):
    adapter = tiny.adapter(tiny.adapter_config(kind))
    result = masked(models[kind], adapter, torch.ones(1, *size), strength=0.7)
    assert torch.equal(result, masked(models[kind], adapter, None, strength=0.7))


def test_a_black_mask_is_the_bare_model_bit_for_bit(models, kind):
    adapter = tiny.adapter(tiny.adapter_config(kind))
    result = masked(models[kind], adapter, torch.zeros(1, *PIXELS))
    assert torch.equal(result, tiny.sample(models[kind], tiny.latent(*LATENT), steps=2))


@pytest.mark.parametrize("edge", [64, 24, 13])
def test_a_mask_weighs_each_cell_by_its_share(models, kind, edge):
    """Also where the mask's edge lies within a cell."""
    config = tiny.adapter_config(kind)
    mask = torch.zeros(1, *PIXELS)
    mask[..., edge:] = 1
    features = oracle.reference_features(kind, tiny.adapter_weights(config), tiny.hint(*PIXELS))
    for level, feature in enumerate(features):
        cell = PIXELS[1] // feature.shape[-1]
        share = torch.stack([mask[0, 0, x : x + cell].mean() for x in range(0, PIXELS[1], cell)])
        features[level] = feature * share
    result = masked(models[kind], tiny.adapter(config), mask)
    expected = tiny.sample(oracle.inject_features(models[kind], kind, features), tiny.latent(*LATENT), steps=2)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)


@pytest.mark.parametrize("hints", [1, 3])
def test_a_gray_mask_for_each_picture_is_a_strength_for_each(models, kind, hints):
    adapter = tiny.adapter(tiny.adapter_config(kind))
    strengths = (0.25, 1.0, 0.0)
    mask = torch.tensor(strengths).view(3, 1, 1).expand(3, *PIXELS)
    result = masked(models[kind], adapter, mask, count=3, hints=hints)
    for row, strength in enumerate(strengths):
        expected = masked(models[kind], adapter, None, count=3, hints=hints, strength=strength)
        torch.testing.assert_close(result[row], expected[row], **tiny.CLOSE)


@pytest.mark.parametrize("masks", [1, 2, 3, 5])
def test_masks_begin_again_or_are_left_out_like_hints(sd, masks):
    adapter = tiny.adapter(tiny.adapter_config())
    mask = (torch.arange(masks) / 5).view(-1, 1, 1).expand(-1, *PIXELS)
    given = masked(sd, adapter, mask, count=3)
    rows = torch.tensor([row % masks for row in range(3)])
    torch.testing.assert_close(given, masked(sd, adapter, mask[rows], count=3), **tiny.CLOSE)


def test_masks_follow_calls_split_for_lack_of_memory(sd, monkeypatch):
    adapter = tiny.adapter(tiny.adapter_config())
    mask = torch.tensor([0.25, 1.0]).view(2, 1, 1).expand(2, *PIXELS)
    expected = masked(sd, adapter, mask, count=2, hints=2)
    oracle.split_calls(monkeypatch, lambda call: call % 2 == 0)
    torch.testing.assert_close(masked(sd, adapter, mask, count=2, hints=2), expected, **tiny.CLOSE)


def test_a_mask_is_fitted_like_its_image(sd):
    """A mask drawn on the condition image stays on what it was drawn on."""
    adapter, latent = tiny.adapter(tiny.adapter_config()), tiny.latent(*LATENT)
    image = tiny.hint(128, 128)
    mask = torch.zeros(1, 128, 128)
    mask[:, 32:64] = 1
    patched = tiny.apply(sd, adapter, image, mask=mask, fit="crop")
    cropped = tiny.apply(sd, adapter, image[:, 32:96].contiguous(), mask=mask[:, 32:96], fit="crop")
    torch.testing.assert_close(
        tiny.sample(patched, latent, steps=2), tiny.sample(cropped, latent, steps=2), **tiny.CLOSE
    )


def test_odd_sizes_keep_the_mask_in_place(sdxl):
    config, image = tiny.adapter_config("SDXL"), tiny.hint(72, 120)
    mask = tiny.hint(72, 120, seed=4, channels=1)[..., 0]
    features = oracle.reference_features("SDXL", tiny.adapter_weights(config), image)
    for level, feature in enumerate(features):
        cell = (16, 16, 32, 32)[level]
        padded = functional.pad(mask.unsqueeze(1), (0, -120 % cell, 0, -72 % cell), mode="replicate")
        features[level] = feature * functional.avg_pool2d(padded, cell)
    result = tiny.sample(tiny.apply(sdxl, tiny.adapter(config), image, mask=mask), tiny.latent(9, 15), steps=2)
    expected = tiny.sample(oracle.inject_features(sdxl, "SDXL", features), tiny.latent(9, 15), steps=2)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)


def test_a_mask_without_batch_is_taken(sd):
    adapter, mask = tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS, channels=1)[0, ..., 0]
    assert torch.equal(masked(sd, adapter, mask), masked(sd, adapter, mask.unsqueeze(0)))


@pytest.mark.parametrize(
    "mask",
    [
        torch.full((1, 8, 8), float("nan")),
        torch.full((1, 8, 8), 255.0),
        torch.full((1, 8, 8), -1.0),
        torch.zeros(0, 8, 8),
        torch.zeros(1, 1, 8, 8),
    ],
)
def test_what_is_no_mask_is_refused(sd, mask):
    from t2i_adapter_pack.adapter_models.errors import HintError

    with pytest.raises(HintError, match="mask"):
        masked(sd, tiny.adapter(tiny.adapter_config()), mask)
