"""Adding a residual to what a block of the UNet gives, for all ways in which prompts and pictures are packed."""

import itertools

import pytest
import torch
from t2i_adapter_pack.adapter_models.stack import add_residual

PACKINGS = [
    (prompts, pictures, chunks, rows)
    for prompts, pictures in itertools.product((1, 2, 3), (1, 2, 5))
    for chunks, rows in itertools.product({1, prompts}, {1, pictures})
]


@pytest.mark.parametrize(("prompts", "pictures", "chunks", "rows"), PACKINGS)
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_each_row_gets_the_residual_of_its_prompt_and_picture(prompts, pictures, chunks, rows, in_place, memory_format):
    generator = torch.Generator().manual_seed(3)
    h = torch.randn(prompts * pictures, 3, 4, 5, generator=generator).contiguous(memory_format=memory_format)
    residual = torch.randn(chunks, rows, 3, 4, 5, generator=generator)
    before, kept = h.clone(), residual.clone()
    got = add_residual(h, residual, in_place=in_place)
    for prompt, picture in itertools.product(range(prompts), range(pictures)):
        row = prompt * pictures + picture
        expected = before[row] + residual[prompt if chunks > 1 else 0, picture if rows > 1 else 0]
        assert torch.equal(got[row], expected)
    assert got.shape == before.shape
    assert torch.equal(h, got if in_place else before)
    assert torch.equal(residual, kept)
    assert (got.data_ptr() == h.data_ptr()) is in_place


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_precision_of_the_unet_is_kept(in_place, dtype):
    h, residual = torch.ones(2, 3, 4, 4, dtype=dtype), torch.ones(1, 2, 3, 4, 4, dtype=dtype)
    got = add_residual(h, residual, in_place=in_place)
    assert got.dtype == dtype
    assert torch.equal(got, torch.full_like(got, 2))


@pytest.mark.parametrize(("chunks", "rows"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_a_residual_follows_a_feature_map_that_was_resized(chunks, rows):
    h = torch.zeros(6, 3, 4, 5)
    got = add_residual(h, torch.full((chunks, rows, 3, 8, 10), 0.5))
    torch.testing.assert_close(got, torch.full_like(got, 0.5))
    assert got.shape == (6, 3, 4, 5)
