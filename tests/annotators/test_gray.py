"""Gray, against Pillow byte for byte."""

import numpy as np
import pytest
import torch
from PIL import Image
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.gray import gray

from .photographs import NAMES, as_bytes, photograph, pictures


def of_pillow(photo):
    return np.array(Image.fromarray(photo).convert("L").convert("RGB"))


@pytest.mark.parametrize("name", NAMES)
def test_no_byte_of_a_photograph_differs_from_pillow(name):
    assert np.array_equal(as_bytes(gray(pictures(photograph(name))))[0], of_pillow(photograph(name)))


def test_no_byte_of_many_colours_differs_from_pillow():
    steps = np.arange(0, 256, 5, dtype=np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(52, -1, 3)
    assert np.array_equal(as_bytes(gray(pictures(colours)))[0], of_pillow(colours))


@pytest.mark.parametrize("gamma", [0.5, 2.2])
def test_gamma_is_the_exponent(gamma):
    image = pictures(photograph("coffee")[:64, :64])
    torch.testing.assert_close(gray(image, gamma), gray(image) ** gamma)


@pytest.mark.parametrize("gamma", [0, -1, float("nan"), float("inf")])
def test_a_gamma_that_is_no_exponent_is_refused(gamma):
    with pytest.raises(AnnotatorError, match="Gray, gamma: got"):
        gray(torch.zeros(1, 3, 4, 4), gamma)
