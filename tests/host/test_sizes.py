"""Any size of latent, any size, aspect and channel count of the condition image."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize("size", [(16, 16), (8, 24), (10, 6), (15, 15), (15, 16), (5, 7), (1, 1)])
def test_every_latent_size_works_and_computes_the_adapter_once(models, kind, size):
    config = tiny.adapter_config(kind)
    adapter, image = tiny.adapter(config), tiny.hint(8 * size[0], 8 * size[1])
    count = tiny.Count(adapter.network)
    result = tiny.sample(tiny.apply(models[kind], adapter, image), tiny.latent(*size), steps=2)
    features = oracle.reference_features(kind, tiny.adapter_weights(config), image)
    expected = tiny.sample(oracle.inject_features(models[kind], kind, features), tiny.latent(*size), steps=2)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    assert count.calls == 1


def steered(model: Any, adapter: Any, image: torch.Tensor, size: tuple[int, int] = (8, 16), **values: Any) -> Any:
    return tiny.sample(tiny.apply(model, adapter, image, **values), tiny.latent(*size), steps=1)


@pytest.mark.parametrize("given", [(64, 128), (128, 256), (100, 50), (37, 211), (1, 1)])
@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_hints_of_every_size_and_aspect_work_like_the_fitted_picture(sd, given, fit):
    """A picture of one colour per half shows what each way of fitting does."""
    image = torch.zeros(1, *given, 3)
    image[:, :, given[1] // 2 :] = 1
    adapter = tiny.adapter(tiny.adapter_config())
    result = steered(sd, adapter, image, fit=fit)
    assert torch.isfinite(result).all()
    from t2i_adapter_pack.adapter_models.hint import fit_to

    fitted = fit_to(image.movedim(-1, 1), (64, 128), fit).movedim(1, -1).clamp(0, 1)
    torch.testing.assert_close(result, steered(sd, adapter, fitted.contiguous()), **tiny.CLOSE)


def test_the_ways_of_fitting_differ_where_the_aspect_does(sd):
    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(64, 64)
    crop, stretch, pad = (steered(sd, adapter, image, fit=fit) for fit in ("crop", "stretch", "pad"))
    assert (crop - stretch).abs().max() > 0.1
    assert (crop - pad).abs().max() > 0.1
    assert (stretch - pad).abs().max() > 0.1
    # The picture's own pixels: crop shows the middle half of the height, twice as large; pad all of it in the middle.
    padded = torch.cat([image[:, :, :1].expand(-1, -1, 32, -1), image, image[:, :, -1:].expand(-1, -1, 32, -1)], dim=2)
    torch.testing.assert_close(pad, steered(sd, adapter, padded), **tiny.CLOSE)


def test_gray_rgb_and_rgba_images_of_equal_pixels_are_equal(sd):
    gray = tiny.hint(64, 128, channels=1)
    rgb = gray.expand(-1, -1, -1, 3).contiguous()
    alpha = tiny.hint(64, 128, seed=9, channels=1)
    for image_channels in (1, 3):
        adapter = tiny.adapter(tiny.adapter_config(image_channels=image_channels))
        expected = steered(sd, adapter, rgb)
        for image in (gray, torch.cat([rgb, alpha], -1), torch.cat([gray, alpha], -1)):
            assert torch.equal(steered(sd, adapter, image), expected)


def test_colours_become_luma_for_gray_adapters(sd):
    adapter, image = tiny.adapter(tiny.adapter_config(image_channels=1)), tiny.hint(64, 128)
    luma = (image * torch.tensor([0.299, 0.587, 0.114])).sum(-1, keepdim=True)
    torch.testing.assert_close(steered(sd, adapter, image), steered(sd, adapter, luma), **tiny.CLOSE)


def test_bgr_adapters_see_red_as_blue(sd):
    config, image = tiny.adapter_config(), tiny.hint(64, 128)
    result = steered(sd, tiny.adapter(config, bgr=True), image)
    assert torch.equal(result, steered(sd, tiny.adapter(config), image.flip(-1).contiguous()))


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (torch.full((1, 64, 64, 3), float("nan")), "NaN"),
        (torch.full((1, 64, 64, 3), 255.0), "255"),
        (torch.zeros(1, 64, 64, 5), "(1, 5, 64, 64)"),
        (torch.zeros(0, 64, 64, 3), "(0, 3, 64, 64)"),
        (torch.zeros(64, 64, 3), "(64, 64, 3)"),
    ],
    ids=["NaN", "bytes", "five channels", "empty", "no batch"],
)
def test_what_is_no_picture_is_refused_in_the_node(sd, image, got):
    from t2i_adapter_pack.adapter_models.errors import HintError

    with pytest.raises(HintError) as caught:
        tiny.apply(sd, tiny.adapter(tiny.adapter_config()), image)
    assert got in caught.value.got
    assert caught.value.where == "Apply T2I-Adapter, image"


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_a_second_pass_at_another_size_uses_the_same_model(models, kind):
    config = tiny.adapter_config(kind)
    adapter, image = tiny.adapter(config), tiny.hint(128, 256)
    count = tiny.Count(adapter.network)
    patched = tiny.apply(models[kind], adapter, image)
    tiny.sample(patched, tiny.latent(8, 16), steps=2)
    start = torch.randn(1, 4, 16, 32, generator=torch.Generator().manual_seed(5))
    result = tiny.sample(patched, start, denoise=0.5, steps=2)
    features = oracle.reference_features(kind, tiny.adapter_weights(config), image)
    expected = tiny.sample(oracle.inject_features(models[kind], kind, features), start, denoise=0.5, steps=2)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    assert count.calls == 2
    tiny.sample(patched, tiny.latent(8, 16), steps=2)
    assert count.calls == 2  # the first size is still known


def test_a_sampler_that_calls_the_model_at_another_size_works(sd):
    """A tiling sampler: the tile follows the whole condition image, since its position is unknown."""
    import comfy.samplers

    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(128, 256)
    count = tiny.Count(adapter.network)
    seen: dict[tuple[int, ...], tuple[int, ...]] = {}

    def see(h: torch.Tensor, options: dict[str, Any]) -> None:
        seen[tuple(h.shape[-2:])] = tuple(oracle.residuals_of(options)["input", 2].shape[-2:])

    def tiles(model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, **_: Any) -> torch.Tensor:
        model.noise = model.latent_image = None
        options = {name: value for name, value in extra_args.items() if name != "denoise_mask"}
        for sigma in sigmas[:2, None]:
            whole = model.inner_model(x, sigma, **options)
            x = torch.cat([model.inner_model(part, sigma, **options) for part in x.chunk(2, -1)], -1) + 0 * whole
        return x

    spied = oracle.spied(tiny.apply(sd, adapter, image), see)
    with torch.inference_mode():
        result = comfy.samplers.sample(
            spied, torch.randn(1, 4, 16, 32), tiny.conditioning(1), tiny.conditioning(2), 5.0, torch.device("cpu"),
            comfy.samplers.KSAMPLER(tiles), torch.tensor([10.0, 5.0, 0.0]), latent_image=tiny.latent(16, 32),
            disable_pbar=True,
        )  # fmt: skip
    assert torch.isfinite(result).all()
    assert seen == {(16, 32): (16, 32), (16, 16): (16, 16)}
    assert count.calls == 2
