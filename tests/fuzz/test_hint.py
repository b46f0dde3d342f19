"""Any tensor as condition image or mask gives a hint of the requested size, or a clear error."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from t2i_adapter_pack.adapter_models.errors import HintError
from t2i_adapter_pack.adapter_models.hint import FITS, check_hint, mask_levels, pad_to_cells, prepare_hint

from .engine import SHORT

VALUES = (0.0, 1.0, 0.5, -0.5, 1.5, -1.0, 255.0, 1e30, float("nan"), float("inf"), float("-inf"))
sides = st.one_of(st.integers(0, 3), st.integers(1, 70))
sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))
fits = st.sampled_from(FITS)
floating = st.sampled_from((torch.float32, torch.float64, torch.float16, torch.bfloat16))
others = st.sampled_from((torch.uint8, torch.int64, torch.bool, torch.complex64))


@st.composite
def pictures(draw):
    """A tensor that may be a picture: any rank, mostly of four dimensions, mostly in range."""
    shape = draw(st.one_of(st.tuples(st.integers(1, 3), st.integers(1, 5), sides, sides), st.lists(sides, max_size=5)))
    shape = [min(side, 4) for side in shape] if len(shape) > 4 else shape
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    image = torch.rand(list(shape), generator=generator)
    if image.numel():
        for value in draw(st.lists(st.sampled_from(VALUES), max_size=2)):
            image.view(-1)[draw(st.integers(0, image.numel() - 1))] = value
    return image.to(draw(st.one_of(floating, others)))


@SHORT
@given(pictures(), sizes, fits, st.sampled_from((1, 3)), st.booleans())
def test_any_tensor_becomes_a_hint_or_is_refused(image, size, fit, channels, bgr):
    before = image.clone()
    try:
        check_hint("image", image)
    except HintError:
        return
    hint = prepare_hint(image, size, fit, channels, bgr=bgr)
    assert hint.shape == (image.shape[0], channels, *size)
    assert hint.dtype == image.dtype
    assert 0 <= hint.min() <= hint.max() <= 1
    assert torch.equal(image, before)


@SHORT
@given(sizes, sizes, fits, st.integers(1, 3), st.integers(0, 2**32))
def test_any_mask_is_averaged_within_its_range(size, target, fit, masks, seed):
    mask = torch.rand((masks, *size), generator=torch.Generator().manual_seed(seed))
    strides = (8, 16, 32, 64)
    for stride, level in zip(strides, mask_levels(mask, target, fit, strides), strict=True):
        assert level.shape == (masks, 1, -(-target[0] // stride), -(-target[1] // stride))
        assert level.min() >= mask.min() - 1e-3
        assert level.max() <= mask.max() + 1e-3
    assert all(level.eq(1).all() for level in mask_levels(torch.ones_like(mask), target, fit, strides))


@SHORT
@given(sizes, st.integers(1, 64))
def test_padding_reaches_whole_cells_and_no_further(size, cell):
    image = torch.rand((1, 1, *size))
    padded = pad_to_cells(image, cell)
    assert all(side % cell == 0 and 0 <= side - own < cell for side, own in zip(padded.shape[-2:], size, strict=True))
    assert torch.equal(padded[..., : size[0], : size[1]], image)
