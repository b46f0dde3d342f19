"""Where ComfyUI core loses, misplaces or recomputes the control, the pack agrees with an independent oracle."""

from __future__ import annotations

import logging

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host


# --- a batch of hints while the packing changes (F3) ----------------------------------------------------


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_hints_survive_a_prompt_that_begins_in_mid_run(models, kind, caplog):
    config, image, latent = tiny.adapter_config(kind), tiny.hint(64, 128, 2), tiny.latent(8, 16, 2)
    adapter = tiny.adapter(config)
    count = tiny.Count(adapter.network)
    late = [*tiny.conditioning(1), *tiny.conditioning(3, start_percent=0.4)]
    with caplog.at_level(logging.WARNING):
        result = tiny.sample(tiny.apply(models[kind], adapter, image), latent, positive=late)
    features = oracle.reference_features(kind, tiny.adapter_weights(config), image)
    expected = tiny.sample(oracle.inject_features(models[kind], kind, features), latent, positive=late)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    assert count.calls == 1
    assert not caplog.records


def test_core_loses_the_hints_then(sd, caplog):
    config, image, latent = tiny.adapter_config(), tiny.hint(64, 128, 2), tiny.latent(8, 16, 2)
    late = [*tiny.conditioning(1), *tiny.conditioning(3, start_percent=0.4)]
    positive, negative = tiny.apply_core(late, tiny.conditioning(2), tiny.core_control(config), image)
    with caplog.at_level(logging.WARNING):
        tiny.sample(sd, latent, positive=positive, negative=negative)
    assert "control could not be applied" in caplog.text


@pytest.mark.parametrize("fits", [lambda _: False, lambda call: call % 2 == 0], ids=["always", "alternating"])
def test_hints_survive_calls_split_for_lack_of_memory(sd, monkeypatch, caplog, fits):
    adapter, image, latent = tiny.adapter(tiny.adapter_config()), tiny.hint(64, 128, 2), tiny.latent(8, 16, 2)
    patched = tiny.apply(sd, adapter, image)
    unsplit = tiny.sample(patched, latent)
    count = tiny.Count(adapter.network)
    oracle.split_calls(monkeypatch, fits)
    sizes: list[int] = []
    with caplog.at_level(logging.WARNING):
        result = tiny.sample(oracle.spied(patched, lambda h, _: sizes.append(h.shape[0])), latent)
    torch.testing.assert_close(result, unsplit, **tiny.CLOSE)
    assert 2 in sizes
    assert count.calls == 0  # still the features of the first run
    assert not caplog.records


# --- odd SDXL latents (F5) ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize("size", [(15, 15), (15, 16), (16, 9), (9, 11)])
def test_odd_latents_get_the_features_of_the_padded_hint_computed_once(models, kind, size):
    config, image = tiny.adapter_config(kind), tiny.hint(8 * size[0], 8 * size[1])
    adapter = tiny.adapter(config)
    count = tiny.Count(adapter.network)
    result = tiny.sample(tiny.apply(models[kind], adapter, image), tiny.latent(*size), steps=2)
    features = oracle.reference_features(kind, tiny.adapter_weights(config), image)
    expected = tiny.sample(oracle.inject_features(models[kind], kind, features), tiny.latent(*size), steps=2)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    assert count.calls == 1
