"""Palettes for a picture whose size differs from the image's: cells are 64 pixels of the generated picture."""

from __future__ import annotations

import logging
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from t2i_adapter_pack.adapter_models.errors import AdapterError
from t2i_adapter_pack.adapter_models.hint import FITS, fit_to, prepare_hint
from t2i_adapter_pack.annotators.canny import canny
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.palette import palette

from . import tiny

pytestmark = pytest.mark.host
# The picture being made, in pixels, and its latent.
HEIGHT, WIDTH = 512, 768
LATENT = {"samples": torch.zeros(1, 4, 64, 96)}
SIZES = {
    "latent": {"latent": LATENT},
    "latent of a video": {"latent": {"samples": torch.zeros(1, 16, 5, 64, 96)}},
    "latent with cells of 16": {"latent": {"samples": torch.zeros(1, 4, 32, 48), "downscale_ratio_spacial": 16}},
    "latent before numbers": {"latent": LATENT, "width": 64, "height": 64},
    "numbers": {"width": 768, "height": 512},
}


def photograph(height: int = 800, width: int = 1200) -> torch.Tensor:
    """An image of any size, (1, H, W, 3)."""
    pixels = cv2.resize(skimage.data.coffee(), (width, height), interpolation=cv2.INTER_CUBIC)
    return torch.from_numpy(pixels)[None].float() / 255


def as_trained(image: torch.Tensor) -> torch.Tensor:
    """The adapter authors' way: the image in the picture's size, then its cells' middles."""
    pixels = (image[0].numpy() * 255).round().astype(np.uint8)
    small = cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_LANCZOS4)
    cells = cv2.resize(small, (WIDTH // 64, HEIGHT // 64), interpolation=cv2.INTER_CUBIC)
    whole = cv2.resize(cells, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    return torch.from_numpy(whole)[None].float() / 255


@pytest.fixture(params=["T2IAnnotateColor", "T2IAnnotateFor"])
def make(request, inside_comfyui, tmp_path) -> Any:
    """What makes palettes: the node itself, or the one that picks it."""
    from t2i_adapter_pack.nodes import NODES
    from t2i_adapter_pack.nodes.loading import adapters

    node = {node.GET_SCHEMA().node_id: node for node in NODES}[request.param]
    if request.param == "T2IAnnotateColor":
        return lambda image, **values: node.execute(image, **values)[0]
    path = tiny.save_adapter(tmp_path, tiny.adapter_config(), name="t2iadapter_color_sd14v1")
    adapter = adapters.wrap_adapter(path, path.name, None, bgr=None, dtype=None)
    return lambda image, **values: node.execute(image, adapter, **values)[0]


@pytest.mark.parametrize("values", SIZES.values(), ids=SIZES)
def test_cells_are_64_pixels_of_the_picture_being_made(make, values):
    image = photograph()
    made = make(image, **values)
    assert made.shape == (1, HEIGHT, WIDTH, 3)
    cells = made.unflatten(2, (-1, 64)).unflatten(1, (-1, 64))
    assert (cells == cells[:, :, :1, :, :1]).all()
    assert len(cells[0, :, 0, :, 0].flatten(0, 1).unique(dim=0)) > 80
    assert torch.equal(made, palette(fit_to(image.movedim(-1, 1), (HEIGHT, WIDTH), "crop")).movedim(1, -1))


def test_the_adapter_sees_what_it_was_trained_on(make):
    """And saw other colours in smaller cells where the image's size counted."""
    image = photograph()
    expected = as_trained(image).movedim(-1, 1)

    def seen(made: torch.Tensor, fit: Any) -> torch.Tensor:
        return prepare_hint(made.movedim(-1, 1), (HEIGHT, WIDTH), fit, 3)

    assert (seen(make(image), "crop") - expected).abs().mean() > 0.04
    made = make(image, latent=LATENT)
    for fit in FITS:
        assert torch.equal(seen(made, fit), made.movedim(-1, 1))
        assert (seen(made, fit) - expected).abs().mean() < 0.01


@pytest.mark.parametrize(("values", "shape"), [({"width": 600}, (400, 600)), ({"height": 200}, (200, 300))], ids=str)
def test_a_single_side_keeps_the_image_s_aspect(make, values, shape):
    assert make(photograph(), **values).shape == (1, *shape, 3)


def test_another_aspect_is_cropped_as_apply_does(make):
    image = photograph()
    expected = palette(image[:, :, 200:1000].movedim(-1, 1)).movedim(1, -1)
    assert torch.equal(make(image, width=800, height=800), expected)


def test_an_image_of_the_size_of_a_picture_is_the_picture(make, caplog):
    caplog.set_level(logging.INFO)
    image = photograph()
    assert torch.equal(make(image), palette(image.movedim(-1, 1)).movedim(1, -1))
    assert "a picture of 1200×800 pixels (as large as the image). Connect latent, or set width" in caplog.text


def test_a_photograph_gets_the_cells_of_a_picture_of_the_trained_size_and_the_node_says_so(make, caplog):
    caplog.set_level(logging.INFO)
    image = photograph(2000, 3000)
    made = make(image)
    assert made.shape == image.shape
    # 3000 pixels become 627 at 512 x 512 pixels' area, so a cell has 306 of the image's.
    assert ((made[0, :, 1:] != made[0, :, :-1]).any(-1).sum(-1) <= 9).all()
    small = fit_to(image.movedim(-1, 1), (418, 627), "stretch")
    assert torch.allclose(made[:, ::500, ::750].movedim(-1, 1)[..., 1, 1], palette(small)[..., 104, 156], atol=1e-6)
    assert "a picture of 627×418 pixels (the image's 3000×2000 are more than is made in one go)" in caplog.text


def test_what_was_chosen_by_hand_counts_in_the_image_s_own_pixels(inside_comfyui):
    from t2i_adapter_pack.nodes.annotate_color import T2IAnnotateColor

    image = photograph(1300, 1300)
    assert torch.equal(T2IAnnotateColor.execute(image, cell=200)[0], palette(image.movedim(-1, 1), 200).movedim(1, -1))
    few = T2IAnnotateColor.execute(image, 1300)[0]
    assert torch.equal(few, palette(image.movedim(-1, 1)).movedim(1, -1))


def test_for_an_sdxl_adapter_a_photograph_gets_the_cells_of_a_larger_picture(inside_comfyui, tmp_path, caplog):
    from t2i_adapter_pack.nodes.annotate_for import T2IAnnotateFor
    from t2i_adapter_pack.nodes.loading import adapters

    caplog.set_level(logging.INFO)
    path = tiny.save_adapter(tmp_path, tiny.adapter_config("SDXL"), name="my_color_xl")
    T2IAnnotateFor.execute(photograph(2000, 3000), adapters.wrap_adapter(path, path.name, None, bgr=None, dtype=None))
    assert "a picture of 1254×836 pixels" in caplog.text


def test_every_annotator_works_at_the_size_of_the_picture(inside_comfyui, tmp_path, caplog):
    from t2i_adapter_pack.nodes.annotate_for import T2IAnnotateFor
    from t2i_adapter_pack.nodes.loading import adapters

    caplog.set_level(logging.INFO)
    path = tiny.save_adapter(tmp_path, tiny.adapter_config(), name="t2iadapter_canny_sd15v2")
    adapter = adapters.wrap_adapter(path, path.name, None, bgr=None, dtype=None)
    image = photograph()
    expected = canny(fit_to(image.movedim(-1, 1), (HEIGHT, WIDTH), "crop")).movedim(1, -1)
    assert torch.equal(T2IAnnotateFor.execute(image, adapter, latent=LATENT)[0], expected)
    assert "thresholds 100 and 200, for a picture of 768×512 pixels" in caplog.text


WRONG = {
    "negative": ({"width": -8}, "width: got -8; expected a whole number from 0 to 16384"),
    "too large": ({"height": 20000}, "height: got 20000"),
    "text": ({"width": "512"}, "width: got the text '512'"),
    "no latent": ({"latent": {"images": 1}}, "latent: got a dict; expected a LATENT of pictures"),
    "of sound": ({"latent": {"samples": torch.zeros(1, 64, 30)}}, r"samples of shape \(1, 64, 30\)"),
    "empty": ({"latent": {"samples": torch.zeros(0, 4, 8, 8)}}, "samples of shape"),
}


@pytest.mark.parametrize(("values", "words"), WRONG.values(), ids=WRONG)
def test_a_size_that_is_none_is_refused(make, values, words):
    with pytest.raises((AdapterError, AnnotatorError), match=words):
        make(photograph(64, 64), **values)
