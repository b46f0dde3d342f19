"""Under ComfyUI's context windows every frame follows its own condition image."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
CAUSAL = pytest.mark.needs("causal windows")
FRAMES, LENGTH = 8, 4
LATENT, PIXELS = (8, 8), (64, 64)


def windowed(model: Any, *, causal: bool, schedule: str = "standard_static") -> Any:
    """Run ComfyUI's node for context windows; older ones have no other windows than those that are not causal."""
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode as Node

    known = "causal_window_fix" in inspect.signature(Node.execute).parameters
    fix = {"causal_window_fix": causal} if known or causal else {}
    return Node.execute(model, LENGTH, 2, schedule, 1, False, "pyramid", 0, False, **fix)[0]


def frames_of(options: dict[str, Any]) -> list[int]:
    """The frames of a call, as ComfyUI's own slicing takes them."""
    window = options["context_window"]
    return window.get_tensor(torch.arange(FRAMES)).tolist()


@pytest.mark.parametrize(
    ("kind", "hints", "causal"),
    [
        pytest.param("SD", 1, True, marks=CAUSAL),
        ("SDXL", 1, False),
        ("SD", 3, False),
        pytest.param("SDXL", 3, True, marks=CAUSAL),
        pytest.param("SD", FRAMES, True, marks=CAUSAL),
        ("SDXL", FRAMES, False),
        ("SD", FRAMES + 2, False),
        pytest.param("SDXL", FRAMES + 2, True, marks=CAUSAL),
    ],
)
def test_each_frame_of_a_window_gets_its_own_hint(models, kind, hints, causal):
    config, image = tiny.adapter_config(kind), tiny.hint(*PIXELS, hints)
    features = oracle.reference_features(kind, tiny.adapter_weights(config), image)
    adapter = tiny.adapter(config)
    count = tiny.Count(adapter.network)
    calls: list[list[int]] = []

    def rows(level: int, h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        frames = frames_of(options)
        chunks = len(options["cond_or_uncond"])
        assert h.shape[0] == chunks * len(frames)
        if level == 0:
            calls.append(frames)
        return features[level][[frame % hints for frame in frames]].repeat(chunks, 1, 1, 1)

    latent = tiny.latent(*LATENT, FRAMES)
    result = tiny.sample(windowed(tiny.apply(models[kind], adapter, image), causal=causal), latent, steps=2)
    expected = tiny.sample(windowed(oracle.inject(models[kind], kind, rows), causal=causal), latent, steps=2)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    first = [0, 1, 2, 3]
    second = [1, 2, 3, 4, 5] if causal else [2, 3, 4, 5]
    assert calls[:2] == [first, second]
    assert count.calls == 1


@CAUSAL
def test_hints_differ_from_window_to_window(sd):
    """Otherwise the test above would pass with an adapter that does nothing."""
    adapter, latent = tiny.adapter(tiny.adapter_config()), tiny.latent(*LATENT, FRAMES)
    image = tiny.hint(*PIXELS, FRAMES)
    results = [
        tiny.sample(windowed(tiny.apply(sd, adapter, given), causal=True), latent, steps=1)
        for given in (image, image.roll(1, 0))
    ]
    assert (results[0] - results[1]).abs().max() > 0.1


def test_windows_with_gaps_and_masks_for_each_frame(sd):
    config, image = tiny.adapter_config(), tiny.hint(*PIXELS, FRAMES)
    strengths = torch.linspace(0, 1, FRAMES)
    features = oracle.reference_features("SD", tiny.adapter_weights(config), image)
    seen: list[list[int]] = []

    def rows(level: int, h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        frames = frames_of(options)
        seen.append(frames)
        weighted = features[level][frames] * strengths[frames].view(-1, 1, 1, 1)
        return weighted.repeat(len(options["cond_or_uncond"]), 1, 1, 1)

    patched = tiny.apply(sd, tiny.adapter(config), image, mask=strengths.view(-1, 1, 1).expand(-1, *PIXELS))
    latent, schedule = tiny.latent(*LATENT, FRAMES), "standard_uniform"
    result = tiny.sample(windowed(patched, causal=False, schedule=schedule), latent, steps=3)
    expected = windowed(oracle.inject(sd, "SD", rows), causal=False, schedule=schedule)
    torch.testing.assert_close(result, tiny.sample(expected, latent, steps=3), **tiny.CLOSE)
    assert all(len(frames) == LENGTH for frames in seen)


@CAUSAL
def test_a_split_call_keeps_the_frames(sd, monkeypatch):
    adapter, latent = tiny.adapter(tiny.adapter_config()), tiny.latent(*LATENT, FRAMES)
    patched = windowed(tiny.apply(sd, adapter, tiny.hint(*PIXELS, FRAMES)), causal=True)
    expected = tiny.sample(patched, latent, steps=2)
    oracle.split_calls(monkeypatch, lambda call: call % 2 == 0)
    torch.testing.assert_close(tiny.sample(patched, latent, steps=2), expected, **tiny.CLOSE)


def in_parts_like_animatediff(model: Any, parts: tuple[tuple[int, ...], ...]) -> Any:
    """Call the UNet for some frames at a time, naming them as AnimateDiff-Evolved does."""
    clone = model.clone()

    def call(apply_model: Any, args: dict[str, Any]) -> torch.Tensor:
        x, timestep, c = args["input"], args["timestep"], args["c"]
        chunks = len(args["cond_or_uncond"])
        result = torch.empty_like(x).unflatten(0, (chunks, -1))
        for part in parts:
            rows = list(part)

            def cut(value: Any, rows: list[int] = rows) -> Any:
                whole = isinstance(value, torch.Tensor) and value.shape[:1] == x.shape[:1]
                return value.unflatten(0, (chunks, -1))[:, rows].flatten(0, 1) if whole else value

            named = {"full_length": FRAMES, "context_length": len(rows), "sub_idxs": rows}
            options = {**c["transformer_options"], "ad_params": named}
            inside = {name: cut(value) for name, value in c.items()}
            made = apply_model(cut(x), cut(timestep), **{**inside, "transformer_options": options})
            result[:, rows] = made.unflatten(0, (chunks, -1))
        return result.flatten(0, 1)

    clone.set_model_unet_function_wrapper(call)
    return clone


@pytest.mark.parametrize("hints", [1, 3, FRAMES])
def test_the_windows_of_animatediff_get_their_frames(models, hints):
    """Frames are independent in this UNet, so any parts give the whole batch's result."""
    for kind, model in models.items():
        adapter, mask = tiny.adapter(tiny.adapter_config(kind)), torch.rand(FRAMES, 8, 8)
        patched = tiny.apply(model, adapter, tiny.hint(*PIXELS, hints), mask=mask)
        latent = tiny.latent(*LATENT, FRAMES)
        expected = tiny.sample(patched, latent, steps=2)
        for parts in (((0, 1, 2, 3), (4, 5, 6, 7)), ((6, 0, 3), (1, 2, 7), (4, 5))):
            windowed = in_parts_like_animatediff(patched, parts)
            torch.testing.assert_close(tiny.sample(windowed, latent, steps=2), expected, **tiny.CLOSE)


# --- a latent whose size changes during the run -----------------------------------------------------------


def upscaling(sizes: tuple[int, ...]) -> Any:
    """A sampler that resizes the latent before each step, as few-step upscaling samplers do."""
    from comfy.samplers import KSAMPLER

    def sample(model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, **_: Any) -> torch.Tensor:
        for size, sigma in zip(sizes, sigmas, strict=False):
            x = torch.nn.functional.interpolate(x, size=(size, size), mode="nearest")
            x = model(x, sigma * x.new_ones([x.shape[0]]), **(extra_args or {}))
        return x

    return KSAMPLER(sample)


def sampled(model: Any, sampler: Any, steps: int) -> torch.Tensor:
    import comfy.sample

    latent, sigmas = tiny.latent(8, 8), torch.linspace(10.0, 0.0, steps + 1)
    prompts = tiny.conditioning(1), tiny.conditioning(2)
    noise = comfy.sample.prepare_noise(latent, 0)
    with torch.inference_mode():
        return comfy.sample.sample_custom(model, noise, 5.0, sampler, sigmas, *prompts, latent, disable_pbar=True)


@pytest.mark.parametrize(("sizes", "warned"), [((8, 8, 12, 16), 0), ((8, 16, 8, 16), 1), ((4, 4, 4, 4), 1)])
def test_a_latent_that_grows_is_not_taken_for_tiles(sd, caplog, sizes, warned):
    config, image = tiny.adapter_config(), tiny.hint(64, 64)
    with caplog.at_level(logging.WARNING):
        result = sampled(tiny.apply(sd, tiny.adapter(config), image), upscaling(sizes), len(sizes))
    assert len([record for record in caplog.records if "tiles" in record.message]) == warned

    def resized(level: int, h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        pixels = 8 * options["original_shape"][-1]
        return oracle_features(config, image, pixels)[level].repeat(h.shape[0], 1, 1, 1)

    expected = sampled(oracle.inject(sd, "SD", resized), upscaling(sizes), len(sizes))
    torch.testing.assert_close(result, expected, **tiny.CLOSE)


def oracle_features(config: Any, image: torch.Tensor, pixels: int) -> list[torch.Tensor]:
    """The features of a square image at another size."""
    from t2i_adapter_pack.adapter_models.hint import prepare_hint

    hint = prepare_hint(image.movedim(-1, 1), (pixels, pixels), "crop", 3, bgr=False)
    return oracle.reference_features("SD", tiny.adapter_weights(config), hint.movedim(1, -1))


def test_comfyuis_own_upscaling_sampler_gives_no_warning(sd, caplog):
    from comfy_extras.nodes_advanced_samplers import SamplerLCMUpscale

    sampler = SamplerLCMUpscale.execute(2.0, -1, "bislerp")[0]
    with caplog.at_level(logging.WARNING):
        result = sampled(tiny.apply(sd, tiny.adapter(tiny.adapter_config()), tiny.hint(64, 64)), sampler, 4)
    assert result.shape[-2:] == (16, 16)
    assert not [record for record in caplog.records if "tiles" in record.message]
