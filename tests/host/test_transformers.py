"""Adapters for transformers (DiT): what is added, where, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from t2i_adapter_pack.adapter_models.conditions import METADATA
from t2i_adapter_pack.adapter_models.errors import FamilyMismatchError

from . import tiny, transformers

pytestmark = pytest.mark.host
FAMILIES = tuple(transformers.CONFIGS)
every_family = pytest.mark.parametrize("family", FAMILIES)
PLACES = (0, 1, 2, 3)  # of 8 blocks
PATCHED = ("Lumina 2", "Z-Image")  # they read no control
BLOCKS = {"Qwen-Image": "transformer_blocks", "Lumina 2": "layers", "Z-Image": "layers"}


def sample(patched: Any, latent: torch.Tensor, **values: Any) -> torch.Tensor:
    prompts = {"positive": transformers.conditioning(1), "negative": transformers.conditioning(2)}
    return tiny.sample(patched, latent, cfg=3.0, steps=3, scheduler="simple", **{**prompts, **values})


def levels_of(adapter: Any, image: torch.Tensor) -> list[torch.Tensor]:
    """The features as tokens (B, N, width), computed by the network alone."""
    with torch.no_grad():
        return [level.flatten(2).transpose(1, 2) for level in adapter.network(image.movedim(-1, 1))]


class Oracle:
    """Adds tokens to the outputs of blocks by hooks on the modules; the pack takes no part."""

    def __init__(self, patched: Any, family: str, levels: list[torch.Tensor], strength: float = 1.0) -> None:
        unet = patched.model.diffusion_model
        blocks = getattr(unet, BLOCKS.get(family, "double_blocks"))
        self.multiple = getattr(unet, "pad_tokens_multiple", None) or 1
        self.family, self.strength = family, strength
        self.handles = [
            blocks[place].register_forward_hook(self._adding(level))
            for place, level in zip(PLACES, levels, strict=True)
        ]

    def _adding(self, level: torch.Tensor) -> Any:
        def hook(_: Any, __: Any, output: Any) -> Any:
            if self.family in PATCHED:
                padded = -(-level.shape[1] // self.multiple) * self.multiple
                begin = output.shape[1] - padded
                changed = output.clone()
                changed[:, begin : begin + level.shape[1]] += self.strength * level
                return changed
            place = 1 if self.family == "Qwen-Image" else 0
            changed = output[place].clone()
            changed[:, : level.shape[1]] += self.strength * level
            return tuple(changed if number == place else each for number, each in enumerate(output))

        return hook

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


@every_family
def test_pictures_equal_those_of_hooks_on_the_blocks(family):
    patched, adapter = transformers.model(family), tiny.adapter(transformers.adapter_config(family))
    image, latent = tiny.hint(96, 128), transformers.latent(patched, 96, 128)
    bare = sample(patched, latent)
    with Oracle(patched, family, levels_of(adapter, image), 0.7):
        expected = sample(patched, latent)
    got = sample(tiny.apply(patched, adapter, image, strength=0.7), latent)
    assert (expected - bare).abs().max() > 1e-2
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(sample(patched, latent), bare, rtol=0, atol=0)


def token_adapter(family: str, seed: int = 0, made_for: str | None = None) -> Any:
    """An adapter as Load T2I-Adapter gives it; its metadata may state a family."""
    found = tiny.adapter(transformers.adapter_config(family), seed)
    return found if made_for is None else replace(found, info=found.info.for_family(made_for, METADATA))


def of_two_pictures(levels: list[torch.Tensor]) -> list[torch.Tensor]:
    """The levels for both halves of a batch of prompts."""
    return [torch.cat([level, level]) for level in levels]


@every_family
@pytest.mark.parametrize("size", [(96, 96), (72, 104), (40, 200)], ids=str)
def test_any_size_is_padded_as_the_model_pads_it(family, size):
    patched, adapter = transformers.model(family), token_adapter(family)
    latent = transformers.latent(patched, *size)
    height, width = (side * patched.model.latent_format.spacial_downscale_ratio for side in latent.shape[-2:])
    image = tiny.hint(height, width)
    rows, columns = (torch.arange(side + -side % 16).clamp(max=side - 1) for side in (height, width))
    padded = image[:, rows][:, :, columns]  # the last row and column repeated
    with Oracle(patched, family, levels_of(adapter, padded)):
        expected = sample(patched, latent)
    got = sample(tiny.apply(patched, adapter, image), latent)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@every_family
def test_each_picture_of_a_batch_follows_its_own_image(family):
    patched, adapter = transformers.model(family), token_adapter(family)
    images, latent = tiny.hint(64, 64, count=2), transformers.latent(patched, 64, 64, count=2)
    with Oracle(patched, family, of_two_pictures(levels_of(adapter, images))):
        expected = sample(patched, latent)
    got = sample(tiny.apply(patched, adapter, images), latent)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@every_family
def test_two_adapters_add_up(family):
    patched, first, second = transformers.model(family), token_adapter(family), token_adapter(family, 1)
    image, other, latent = tiny.hint(64, 64), tiny.hint(64, 64, seed=1), transformers.latent(patched, 64, 64)
    with Oracle(patched, family, levels_of(first, image)), Oracle(patched, family, levels_of(second, other), 0.5):
        expected = sample(patched, latent)
    both = tiny.apply(tiny.apply(patched, first, image), second, other, strength=0.5)
    torch.testing.assert_close(sample(both, latent), expected, rtol=0, atol=3e-5)


@every_family
def test_strength_nothing_leaves_the_picture_as_it_is(family):
    patched = transformers.model(family)
    latent = transformers.latent(patched, 64, 64)
    silent = tiny.apply(patched, token_adapter(family), tiny.hint(64, 64), strength=0.0)
    assert torch.equal(sample(silent, latent), sample(patched, latent))


@every_family
def test_a_mask_keeps_the_features_of_its_half(family):
    patched, adapter = transformers.model(family), token_adapter(family)
    image, latent = tiny.hint(64, 64), transformers.latent(patched, 64, 64)
    mask = torch.zeros(1, 64, 64)
    mask[:, :, 32:] = 1.0
    cells = torch.zeros(4, 4)
    cells[:, 2:] = 1.0
    with Oracle(patched, family, [level * cells.view(1, 16, 1) for level in levels_of(adapter, image)]):
        expected = sample(patched, latent)
    got = sample(tiny.apply(patched, adapter, image, mask=mask), latent)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@every_family
def test_features_are_computed_once_per_run_and_kept_for_the_next(family):
    patched, adapter = transformers.model(family), token_adapter(family)
    counted = tiny.Count(adapter.network)
    applied = tiny.apply(patched, adapter, tiny.hint(64, 64))
    latent = transformers.latent(patched, 64, 64)
    sample(applied, latent, seed=1)
    sample(applied, latent, seed=2)
    assert counted.calls == 1
    assert tiny.left_of_runs() == []


@pytest.mark.parametrize("family", ["Flux", "Qwen-Image"])
def test_reference_pictures_get_nothing(family):
    patched, adapter = transformers.model(family), token_adapter(family)
    image, latent = tiny.hint(64, 64), transformers.latent(patched, 64, 64)
    generator = torch.Generator().manual_seed(3)
    reference = torch.randn(transformers.latent(patched, 32, 32).shape, generator=generator)
    prompts = {
        "positive": transformers.conditioning(1, reference_latents=[reference]),
        "negative": transformers.conditioning(2, reference_latents=[reference]),
    }
    with Oracle(patched, family, levels_of(adapter, image)):
        expected = sample(patched, latent, **prompts)
    got = sample(tiny.apply(patched, adapter, image), latent, **prompts)
    assert not torch.equal(got, sample(tiny.apply(patched, adapter, image), latent))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in PATCHED])
def test_the_control_net_front_gives_the_same_picture(family):
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    patched, adapter = transformers.model(family), token_adapter(family)
    image, latent = tiny.hint(64, 64), transformers.latent(patched, 64, 64)
    expected = sample(tiny.apply(patched, adapter, image, strength=0.7), latent)
    control = T2IAdapterToControlNet.execute(adapter)[0]
    positive, negative = tiny.apply_core(
        transformers.conditioning(1), transformers.conditioning(2), control, image, strength=0.7
    )
    got = sample(patched, latent, positive=positive, negative=negative)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", PATCHED)
def test_the_control_net_front_is_refused_where_the_model_reads_no_control(family):
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    patched, adapter = transformers.model(family), token_adapter(family)
    control = T2IAdapterToControlNet.execute(adapter)[0]
    prompts = transformers.conditioning(1), transformers.conditioning(2)
    positive, negative = tiny.apply_core(*prompts, control, tiny.hint(64, 64))
    with pytest.raises(FamilyMismatchError, match="Use Apply T2I-Adapter"):
        sample(patched, transformers.latent(patched, 64, 64), positive=positive, negative=negative)


def test_an_adapter_of_another_family_of_the_same_shape_is_refused_with_both_named():
    patched, adapter = transformers.model("Qwen-Image"), token_adapter("Flux", made_for="Flux")
    with pytest.raises(FamilyMismatchError, match=r"This adapter is for Flux, and the model is Qwen-Image\."):
        tiny.apply(patched, adapter, tiny.hint(64, 64))


def test_adapters_of_unets_are_refused_with_both_named():
    with pytest.raises(FamilyMismatchError, match=r"This adapter is for SDXL, and the model is Flux\."):
        tiny.apply(transformers.model("Flux"), tiny.adapter(tiny.adapter_config("SDXL")), tiny.hint(64, 64))
    with pytest.raises(FamilyMismatchError, match=r"for transformers with tokens of 64 numbers, and the model is Tiny"):
        tiny.apply(tiny.model(), token_adapter("Flux"), tiny.hint(64, 64))
