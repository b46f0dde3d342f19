"""Where ComfyUI core is right, the pack's latents are bit-equal to core's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import tiny

pytestmark = [pytest.mark.host, pytest.mark.parity]
KINDS = ("SD", "SDXL")


def core_sample(model: Any, control: Any, image: torch.Tensor, latent: torch.Tensor, **values: Any) -> torch.Tensor:
    """Sample with core's ControlNetApplyAdvanced on the prompts."""
    settings = {name: values.pop(name) for name in ("strength", "start_percent", "end_percent") if name in values}
    positive = values.pop("positive", None) or tiny.conditioning(1)
    negative = values.pop("negative", None) or tiny.conditioning(2)
    positive, negative = tiny.apply_core(positive, negative, control, image, **settings)
    return tiny.sample(model, latent, positive=positive, negative=negative, **values)


# Each value meets each value of every other column.
@pytest.mark.parametrize(
    ("strength", "batch", "hints", "cfg"),
    [(0.7, 1, 1, 1.0), (1.0, 1, 2, 5.0), (1.0, 2, 1, 1.0), (0.7, 2, 2, 1.0), (0.7, 2, 1, 5.0)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_latents_equal_core_bit_for_bit(models, kind, strength, batch, hints, cfg):
    config = tiny.adapter_config(kind)
    image, latent = tiny.hint(64, 128, hints), tiny.latent(8, 16, batch)
    ours = tiny.apply(models[kind], tiny.adapter(config), image, strength=strength)
    # Core gives hint 0 to the negative and hint 1 to the positive prompt when a call of one picture holds both.
    core_hints = image[:1] if (batch, hints, cfg) == (1, 2, 5.0) else image
    expected = core_sample(models[kind], tiny.core_control(config), core_hints, latent, strength=strength, cfg=cfg)
    result = tiny.sample(ours, latent, cfg=cfg)
    assert torch.equal(result, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_changes_the_picture(models, kind):
    """Else equality with core could mean that neither did anything."""
    latent = tiny.latent(8, 16)
    patched = tiny.apply(models[kind], tiny.adapter(tiny.adapter_config(kind)), tiny.hint(64, 128))
    assert (tiny.sample(patched, latent) - tiny.sample(models[kind], latent)).abs().max() > 1


def test_core_mixes_up_hints_of_one_picture_and_we_do_not(sd):
    config = tiny.adapter_config()
    image, latent = tiny.hint(64, 128, 2), tiny.latent(8, 16)
    mixed = core_sample(sd, tiny.core_control(config), image, latent)
    first = core_sample(sd, tiny.core_control(config), image[:1], latent)
    result = tiny.sample(tiny.apply(sd, tiny.adapter(config), image), latent)
    assert torch.equal(result, first)
    assert not torch.allclose(mixed, first, atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_gray_images_into_gray_adapters_equal_core(models, kind, kernel_size):
    config = tiny.adapter_config(kind, image_channels=1, kernel_size=kernel_size)
    image, latent = tiny.hint(64, 128, 1, channels=1), tiny.latent(8, 16)
    result = tiny.sample(tiny.apply(models[kind], tiny.adapter(config), image), latent)
    assert torch.equal(result, core_sample(models[kind], tiny.core_control(config), image, latent))


def test_adapters_that_shrink_by_convolution_equal_core(sd):
    config = tiny.adapter_config(conv_down=True)
    image, latent = tiny.hint(64, 128), tiny.latent(8, 16)
    result = tiny.sample(tiny.apply(sd, tiny.adapter(config), image), latent)
    assert torch.equal(result, core_sample(sd, tiny.core_control(config), image, latent))


def test_light_adapters_equal_core(sd):
    """Core's loader knows the published widths alone; its network takes any."""
    import comfy.controlnet
    import comfy.t2i_adapter.adapter

    config = tiny.adapter_config(kind="light", inner_channels=(8, 16, 32, 32), num_res_blocks=4)
    network = comfy.t2i_adapter.adapter.Adapter_light(cin=192, channels=list(tiny.WIDTHS), nums_rb=4)
    network.load_state_dict(tiny.adapter_weights(config))
    control = comfy.controlnet.T2IAdapter(network, 3, 8, "nearest-exact")
    image, latent = tiny.hint(64, 128), tiny.latent(8, 16)
    result = tiny.sample(tiny.apply(sd, tiny.adapter(config), image), latent)
    assert torch.equal(result, core_sample(sd, control, image, latent))


def test_the_memory_layout_of_the_image_changes_nothing(sd):
    adapter, image, latent = tiny.adapter(tiny.adapter_config()), tiny.hint(64, 128), tiny.latent(8, 16)
    planes = image.movedim(-1, 1).contiguous().movedim(1, -1)
    assert planes.stride() != image.stride()
    expected = tiny.sample(tiny.apply(sd, adapter, image), latent, steps=2)
    assert torch.equal(tiny.sample(tiny.apply(sd, adapter, planes), latent, steps=2), expected)


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (0.3, 0.8)])
@pytest.mark.parametrize(
    ("kind", "sampler"), [("SD", "euler"), ("SDXL", "euler"), ("SD", "heun"), ("SDXL", "dpmpp_2m")]
)
def test_ranges_equal_core_with_every_sampler(models, kind, start, end, sampler):
    config = tiny.adapter_config(kind)
    image, latent = tiny.hint(64, 128), tiny.latent(8, 16)
    values = {"start_percent": start, "end_percent": end}
    result = tiny.sample(tiny.apply(models[kind], tiny.adapter(config), image, **values), latent, sampler=sampler)
    expected = core_sample(models[kind], tiny.core_control(config), image, latent, sampler=sampler, **values)
    assert torch.equal(result, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_several_prompts_equal_core(models, kind):
    config = tiny.adapter_config(kind)
    image, latent = tiny.hint(64, 128), tiny.latent(8, 16, 2)
    positive = [*tiny.conditioning(1), *tiny.conditioning(3), *tiny.conditioning(4)]
    result = tiny.sample(tiny.apply(models[kind], tiny.adapter(config), image), latent, positive=positive)
    assert torch.equal(result, core_sample(models[kind], tiny.core_control(config), image, latent, positive=positive))


def test_image_to_image_and_larger_hints_equal_core(sd):
    """A hint of twice the size in cells of 2×2 equal pixels has the same pixels however it is shrunk."""
    config = tiny.adapter_config()
    image = tiny.hint(64, 128)
    doubled = image.repeat_interleave(2, 1).repeat_interleave(2, 2)
    latent = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(3))
    control = tiny.core_control(config)
    expected = core_sample(sd, control, image, latent, denoise=0.6)
    result = tiny.sample(tiny.apply(sd, tiny.adapter(config), image), latent, denoise=0.6)
    assert torch.equal(result, expected)
    assert torch.equal(core_sample(sd, control, doubled, latent, denoise=0.6), expected)
