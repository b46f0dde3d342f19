"""What every annotator keeps: size, device, precision, its input, and the independence of the pictures of a batch."""

import math

import pytest
import torch
from t2i_adapter_pack.annotators.canny import canny
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.gray import gray
from t2i_adapter_pack.annotators.palette import SAMPLINGS, palette
from t2i_adapter_pack.annotators.sketch import SKETCH_MODES, clean_sketch

from .photographs import photograph, pictures

ANNOTATE = {
    "canny": canny,
    "canny L2": lambda images: canny(images, 40, 110, True),
    **{f"palette {row.name}": lambda images, row=row: palette(images, 32, row.name) for row in SAMPLINGS},
    **{f"sketch {row.name}": lambda images, row=row: clean_sketch(images, row.name) for row in SKETCH_MODES},
    "sketch of one pixel": lambda images: clean_sketch(images, "xdog", line_width=1),
    "gray": gray,
    "gray, brighter": lambda images: gray(images, 0.5),
}
every = pytest.mark.parametrize("annotate", ANNOTATE.values(), ids=ANNOTATE)


def crops(height, width):
    """Four pictures of different content."""
    found = [photograph(name)[50 : 50 + height, 60 : 60 + width] for name in ("astronaut", "coffee", "rocket")]
    return torch.cat([pictures(*found), torch.full((1, 3, height, width), 0.25)])


@every
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (17, 64), (64, 64), (100, 130), (65, 200)], ids=str)
def test_any_size_comes_back_as_it_was_within_the_range(annotate, size):
    images = crops(*size)
    result = annotate(images)
    assert result.shape == images.shape
    assert 0 <= result.min() <= result.max() <= 1
    assert not result.isnan().any()


@every
def test_a_batch_is_its_pictures_one_by_one(annotate):
    images = crops(90, 120)
    assert torch.equal(annotate(images), torch.cat([annotate(one[None]) for one in images]))


@every
def test_the_pictures_given_are_not_changed(annotate):
    images = crops(70, 64)
    before = images.clone()
    annotate(images)
    assert torch.equal(images, before)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_precision_is_kept_and_changes_little(annotate, dtype):
    images = crops(64, 70)
    result = annotate(images.to(dtype))
    assert result.dtype == dtype
    # Bytes survive half precision; what depends on more than bytes differs by what it can't hold, or falls rarely to
    # the other side of a threshold.
    assert ((result.float() - annotate(images)).abs() > 5e-3).float().mean() < 1e-3


@every
def test_alpha_is_dropped_and_gray_repeated(annotate):
    images = crops(64, 64)
    opaque = annotate(images)
    assert torch.equal(annotate(torch.cat([images, torch.rand(4, 1, 64, 64)], 1)), opaque)
    one = images[:, :1]
    repeated = annotate(one.expand(-1, 3, -1, -1))
    assert torch.equal(annotate(one), repeated)
    assert torch.equal(annotate(torch.cat([one, torch.rand(4, 1, 64, 64)], 1)), repeated)


@every
@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(0, 3, 8, 8), "The image is empty"),
        (torch.zeros(1, 5, 8, 8), r"\(1, 5, 8, 8\)"),
        (torch.zeros(3, 8, 8), r"\(3, 8, 8\)"),
        (torch.full((1, 3, 8, 8), math.nan), "NaN"),
        (torch.full((1, 3, 8, 8), 255.0), "to 255"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "uint8"),
    ],
    ids=["no picture", "channels", "rank", "NaN", "range", "bytes"],
)
def test_what_is_no_picture_is_refused_in_words(annotate, images, words):
    with pytest.raises(AnnotatorError, match=words):
        annotate(images)


@every
@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(annotate):
    images = crops(90, 120)
    result = annotate(images.cuda())
    assert result.is_cuda
    assert ((result.cpu() - annotate(images)).abs() > 1e-5).float().mean() < 1e-3
