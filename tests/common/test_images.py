"""The check of images, with the error of each library, and luma."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from t2i_adapter_pack.adapter_models.hint import HINT_CHECK
from t2i_adapter_pack.annotators.images import IMAGE_CHECK
from t2i_adapter_pack.common.errors import PackError
from t2i_adapter_pack.common.images import luma


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("check", [HINT_CHECK, IMAGE_CHECK], ids=["hint", "annotator"])
@pytest.mark.parametrize(
    ("image", "says"),
    [
        (torch.zeros(0, 3, 4, 4), "The image is empty."),
        (torch.zeros(0), "The image is empty."),
        (torch.zeros(1, 5, 4, 4), "This is not an image."),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "The image holds whole numbers instead of values from 0 to 1."),
    ],
    ids=["empty", "empty and flat", "five channels", "bytes"],
)
def test_a_library_gives_its_own_error(check, image, says):
    with pytest.raises(PackError) as caught:
        check.form("x", image)
    assert type(caught.value) is check.error
    assert caught.value.says == says


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (math.nan, "The image holds NaN."),
        (-1.0, "The image has values far outside 0 to 1."),
        (255.0, "The image has values far outside 0 to 1."),
    ],
)
def test_values_out_of_range_are_refused(value, says):
    with pytest.raises(HINT_CHECK.error) as caught:
        HINT_CHECK.values("x", torch.tensor([0.5, value]))
    assert caught.value.says == says
    assert HINT_CHECK.values("x", torch.tensor([0.5, -0.5, 1.5])) == (-0.5, 1.5)


def test_luma_keeps_gray_exactly_and_follows_bt601():
    gray = noise(1, 1, 8, 8)
    assert torch.equal(luma(gray.expand(-1, 3, -1, -1)), gray)
    colours = noise(2, 3, 8, 8)
    pillow = [np.array(Image.fromarray(one.movedim(0, -1).mul(255).round().byte().numpy()).convert("L"))
              for one in colours]  # fmt: skip
    assert np.abs(luma(colours)[:, 0].numpy() * 255 - np.stack(pillow)).max() <= 1.5
