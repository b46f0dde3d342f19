"""A prompt with an area follows the part of the condition image under it; core squeezes the whole image in."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
SIZE = (16, 32)
Area = tuple[int, int, int, int]  # height, width, top, left in latent cells
LEFT, RIGHT = (16, 16, 0, 0), (16, 16, 0, 16)


def prompts(*areas: Any, **values: Any) -> list[Any]:
    """One prompt for each area."""
    return [prompt for seed, area in enumerate(areas) for prompt in tiny.conditioning(10 + seed, area=area, **values)]


def under(feature: torch.Tensor, area: Area, cells: torch.Size) -> torch.Tensor:
    """The features under an area, interpolated linearly between cells."""
    for axis, start, count in ((2, area[2], cells[0]), (3, area[3], cells[1])):
        stride, last = SIZE[axis - 2] // feature.shape[axis], feature.shape[axis] - 1
        places = (start / stride + torch.arange(count)).clamp(max=last)
        near, far = places.floor().long(), places.ceil().long()
        between = (places - near).view(-1, *([1] * (3 - axis)))
        feature = feature.index_select(axis, near) * (1 - between) + feature.index_select(axis, far) * between
    return feature


def inject_areas(model: Any, kind: str, features: list[torch.Tensor], areas: list[Area]) -> Any:
    """Oracle: features cropped by hand. ComfyUI packs the last prompt of a list first."""

    def crop(level: int, h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        called = tuple(options["original_shape"][-2:])
        left = {number: [area for area in areas if area[:2] == called] for number in (0, 1)}
        whole = (*SIZE, 0, 0)
        places = [whole if called == SIZE else left[number].pop() for number in options["cond_or_uncond"]]
        rows = h.shape[0] // len(places)
        parts = [under(features[level], place, h.shape[-2:]) for place in places]
        return torch.cat([part.expand(rows, -1, -1, -1) for part in parts])

    return oracle.inject(model, kind, crop)


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize(
    ("given", "cells"),
    [
        ([(8, 16, 8, 16)], [(8, 16, 8, 16)]),
        ([(9, 11, 3, 5)], [(9, 11, 3, 5)]),
        ([("percentage", 0.5, 0.25, 0.5, 0.625)], [(8, 8, 8, 20)]),
        ([(99, 99, 4, 10)], [(12, 22, 4, 10)]),
        ([LEFT, RIGHT], [LEFT, RIGHT]),
        ([LEFT, (8, 16, 4, 9)], [LEFT, (8, 16, 4, 9)]),
    ],
    ids=["on the cells", "between the cells", "in percent", "past the border", "two of a size", "two of two sizes"],
)
def test_an_area_gets_the_part_of_the_features_under_it(models, kind, given, cells):
    config, image, latent = tiny.adapter_config(kind), tiny.hint(128, 256), tiny.latent(*SIZE)
    features = oracle.reference_features(kind, tiny.adapter_weights(config), image)
    positive = [*tiny.conditioning(1), *prompts(*given)]
    patched = tiny.apply(models[kind], tiny.adapter(config), image)
    result = tiny.sample(patched, latent, positive=positive, steps=2)
    expected = inject_areas(models[kind], kind, features, cells)
    torch.testing.assert_close(result, tiny.sample(expected, latent, positive=positive, steps=2), **tiny.CLOSE)


def test_two_areas_of_a_size_share_a_call_and_each_gets_its_own_part(sd):
    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(128, 256)
    image[:, :, :128] = 0
    seen: list[tuple[list[int], torch.Tensor]] = []

    def see(_: torch.Tensor, options: dict[str, Any]) -> None:
        seen.append((list(options["cond_or_uncond"]), oracle.residuals_of(options)["input", 2]))

    spied = oracle.spied(tiny.apply(sd, adapter, image), see)
    tiny.sample(spied, tiny.latent(*SIZE), positive=prompts(LEFT, RIGHT), steps=1)
    whole, areas = sorted(seen, key=lambda call: len(call[0]))
    weights = tiny.adapter_weights(tiny.adapter_config())
    fine = oracle.reference_features("SD", weights, image)[0]
    assert whole[0] == [1]
    assert areas[0] == [1, 1, 0, 0]
    assert areas[1].shape[:2] == (4, 1)
    for chunk, part in enumerate([fine[..., 16:], fine[..., :16]] * 2):
        torch.testing.assert_close(areas[1][chunk], part)
    # Three cells of 3×3 convolutions away from the middle, the left one knows nothing of the right.
    black = oracle.reference_features("SD", weights, torch.zeros_like(image))[0]
    torch.testing.assert_close(areas[1][1][..., :12], black[..., :12])
    assert (areas[1][0][..., 4:] - black[..., 20:]).abs().max() > 0.1


def test_areas_with_a_batch_of_hints_give_each_picture_its_own(sd):
    config, image, latent = tiny.adapter_config(), tiny.hint(128, 256, 2), tiny.latent(*SIZE, 2)
    features = oracle.reference_features("SD", tiny.adapter_weights(config), image)
    positive = prompts(LEFT, RIGHT)
    result = tiny.sample(tiny.apply(sd, tiny.adapter(config), image), latent, positive=positive, steps=2)
    expected = inject_areas(sd, "SD", features, [LEFT, RIGHT])
    torch.testing.assert_close(result, tiny.sample(expected, latent, positive=positive, steps=2), **tiny.CLOSE)


def test_areas_compute_the_features_once(sd):
    adapter = tiny.adapter(tiny.adapter_config())
    count = tiny.Count(adapter.network)
    patched = tiny.apply(sd, adapter, tiny.hint(128, 256))
    tiny.sample(patched, tiny.latent(*SIZE), positive=prompts(LEFT, (8, 16, 4, 9)), steps=3)
    assert count.calls == 1


@pytest.mark.parametrize("bounds", [False, True])
def test_a_masked_prompt_gets_the_whole_or_its_bounds(sd, bounds):
    config, image, latent = tiny.adapter_config(), tiny.hint(128, 256), tiny.latent(*SIZE)
    mask = torch.zeros(1, *SIZE)
    mask[:, 4:16, 8:24] = 1
    positive = [*tiny.conditioning(1), *tiny.conditioning(3, mask=mask, set_area_to_bounds=bounds)]
    features = oracle.reference_features("SD", tiny.adapter_weights(config), image)
    expected = oracle.inject_features(sd, "SD", features)
    expected = inject_areas(sd, "SD", features, [(12, 16, 4, 8)]) if bounds else expected
    result = tiny.sample(tiny.apply(sd, tiny.adapter(config), image), latent, positive=positive, steps=2)
    torch.testing.assert_close(result, tiny.sample(expected, latent, positive=positive, steps=2), **tiny.CLOSE)


def test_the_mask_of_an_adapter_is_cut_with_its_features(sd):
    config, image, latent = tiny.adapter_config(), tiny.hint(128, 256), tiny.latent(*SIZE)
    mask = torch.zeros(1, 128, 256)
    mask[:, :, 128:] = 1
    features = oracle.reference_features("SD", tiny.adapter_weights(config), image)
    for feature in features:
        feature[..., : feature.shape[-1] // 2] = 0
    positive = prompts(LEFT, RIGHT)
    result = tiny.sample(tiny.apply(sd, tiny.adapter(config), image, mask=mask), latent, positive=positive, steps=2)
    expected = inject_areas(sd, "SD", features, [LEFT, RIGHT])
    torch.testing.assert_close(result, tiny.sample(expected, latent, positive=positive, steps=2), **tiny.CLOSE)
