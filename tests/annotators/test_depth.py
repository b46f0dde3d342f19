"""Depth: range, polarity and percentiles, against numpy."""

import numpy as np
import pytest
import torch
from t2i_adapter_pack.annotators.depth import DEPTH_MODES, normalize_depth
from t2i_adapter_pack.annotators.errors import AnnotatorError

every_mode = pytest.mark.parametrize("mode", [row.name for row in DEPTH_MODES])
both_inputs = pytest.mark.parametrize("input_is", ["disparity", "depth"])


def scene(seed=1, height=40, width=50):
    """Metric depths from 1 to 9 metres."""
    return 1 + 8 * torch.rand((1, 1, height, width), generator=torch.Generator().manual_seed(seed))


@every_mode
def test_near_is_white_whatever_the_input_means(mode):
    depth = torch.linspace(1, 9, 100).view(1, 1, 10, 10)
    for values, input_is in ((depth, "depth"), (1 / depth, "disparity")):
        row = normalize_depth(values, mode, input_is)[0, 0].flatten()
        assert row[0] == 1
        assert row[-1] == 0
        assert (row.diff() <= 0).all()


@every_mode
def test_depth_and_its_disparity_give_the_same_picture(mode):
    depth = scene()
    of_depth, of_disparity = normalize_depth(depth, mode, "depth"), normalize_depth(1 / depth, mode, "disparity")
    torch.testing.assert_close(of_depth, of_disparity, rtol=0, atol=1e-5)


def test_midas_is_the_disparity_from_least_to_greatest():
    disparity = 1 / scene()
    expected = (disparity - disparity.min()) / (disparity.max() - disparity.min())
    torch.testing.assert_close(normalize_depth(disparity)[:, :1], expected)


@pytest.mark.parametrize("size", [(40, 50), (1, 7), (3, 3)], ids=str)
def test_zoe_is_the_published_formula_with_numpys_percentiles(size):
    depth = scene(2, *size)
    low, high = np.percentile(depth.numpy(), [2, 85])
    expected = np.clip(1 - (depth.numpy() - low) / (high - low), 0, None) ** 2.2
    np.testing.assert_allclose(normalize_depth(depth, "zoe", "depth")[:, :1], np.clip(expected, 0, 1), atol=1e-5)


@every_mode
@both_inputs
def test_scale_does_not_matter_and_every_picture_has_its_own(mode, input_is):
    both = torch.cat([scene(1), 1000 * scene(2)])
    result = normalize_depth(both, mode, input_is)
    for number in (0, 1):
        torch.testing.assert_close(result[number], normalize_depth(both[number][None] / 7, mode, input_is)[0])
        alone = normalize_depth(both[number][None], mode, input_is)[0]
        torch.testing.assert_close(result[number], alone, rtol=0, atol=1e-6)


def test_disparity_may_be_shifted_and_below_zero():
    disparity = 1 / scene()
    torch.testing.assert_close(normalize_depth(disparity - 5), normalize_depth(disparity), rtol=0, atol=1e-5)


@every_mode
@pytest.mark.parametrize("gamma", [0.5, 1.0, 3.0])
def test_gamma_is_the_exponent(mode, gamma):
    plain = normalize_depth(scene(), mode, "depth", 1.0)
    torch.testing.assert_close(normalize_depth(scene(), mode, "depth", gamma), plain**gamma)


@every_mode
@both_inputs
@pytest.mark.parametrize("value", [0.0, 0.5, 300.0])
def test_a_map_of_one_value_is_black(mode, input_is, value):
    assert not normalize_depth(torch.full((1, 3, 5, 5), value), mode, input_is).any()


@every_mode
@both_inputs
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (70, 3)], ids=str)
def test_any_size_and_depths_of_zero_stay_in_the_range(mode, input_is, size):
    depth = scene(3, *size) - 1
    depth[..., 0, 0] = 0
    result = normalize_depth(depth.expand(-1, 3, -1, -1), mode, input_is)
    assert result.shape == (1, 3, *size)
    assert 0 <= result.min() <= result.max() <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_precision_is_kept(dtype):
    result = normalize_depth(scene().to(dtype))
    assert result.dtype == dtype
    torch.testing.assert_close(result.float(), normalize_depth(scene()), rtol=0, atol=2e-3)


def test_the_input_is_not_changed_and_alpha_dropped():
    depth = torch.cat([scene().expand(-1, 3, -1, -1), torch.rand(1, 1, 40, 50)], 1)
    before = depth.clone()
    assert torch.equal(normalize_depth(depth), normalize_depth(scene()))
    assert torch.equal(depth, before)


def test_more_values_than_torch_ranks_itself():
    depth = torch.linspace(0, 1, 2**24 + 1).view(1, 1, 1, -1)
    assert normalize_depth(depth, "zoe", "depth", 1.0)[0, 0, 0, 2**23] == pytest.approx((0.85 - 0.5) / 0.83, abs=1e-4)


@pytest.mark.parametrize(
    ("depth", "values", "words"),
    [
        (torch.zeros(0, 1, 4, 4), {}, r"\(0, 1, 4, 4\)"),
        (torch.zeros(4, 4), {}, r"\(4, 4\)"),
        (torch.zeros(1, 2, 4, 4), {}, r"\(1, 2, 4, 4\)"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.int32), {}, "torch.int32"),
        (torch.full((1, 1, 4, 4), float("nan")), {}, "NaN or infinite"),
        (torch.full((1, 1, 4, 4), float("inf")), {}, "NaN or infinite"),
        (torch.rand(1, 3, 8, 8), {}, "a coloured picture"),
        (-torch.rand(1, 1, 8, 8), {"input_is": "depth"}, "a depth of -.*set input_is to disparity"),
        (torch.rand(1, 1, 8, 8), {"mode": "dpt"}, "mode: got 'dpt'; expected one of "),
        (torch.rand(1, 1, 8, 8), {"input_is": "normals"}, "input_is: got 'normals'"),
        (torch.rand(1, 1, 8, 8), {"gamma": -1}, "gamma: got -1"),
    ],
    ids=["empty", "rank", "channels", "type", "NaN", "infinite", "colours", "negative", "mode", "input", "gamma"],
)
def test_what_is_no_depth_is_refused_in_words(depth, values, words):
    with pytest.raises(AnnotatorError, match=words):
        normalize_depth(depth, **values)
