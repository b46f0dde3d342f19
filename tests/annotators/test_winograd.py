"""The faster convolution: what the plain one computes, at any size, and only where it is meant."""

import copy

import pytest
import torch
from t2i_adapter_pack.annotators.networks import winograd
from torch import nn


@pytest.fixture
def everywhere(monkeypatch):
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", 1)
    monkeypatch.setattr(winograd, "LEAST_TILES", 0)


@pytest.fixture
def calls(monkeypatch):
    """The shapes that went the fast way."""
    found = []
    plain = winograd._convolve
    monkeypatch.setattr(winograd, "_convolve", lambda x, *rest: found.append(tuple(x.shape)) or plain(x, *rest))
    return found


def layer(channels, width, padding):
    torch.manual_seed(0)
    return nn.Conv2d(channels, width, 3, padding=padding)


@torch.no_grad()
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("size", [(1, 5, 8, 8), (2, 5, 9, 15), (3, 1, 3, 3), (1, 7, 70, 6), (2, 4, 5, 130)])
def test_it_equals_the_plain_convolution(everywhere, calls, size, padding):
    conv = layer(size[1], 6, padding)
    x = torch.randn(size)
    expected = copy.deepcopy(conv).double()(x.double())
    found = winograd.convolve(conv, x)
    assert found.shape == expected.shape
    assert calls
    assert float((found - expected).abs().max()) < 2e-5


@torch.no_grad()
def test_any_layout_and_any_view_is_read_right(everywhere):
    conv = layer(5, 6, 1)
    x = torch.randn(2, 5, 20, 24)
    expected = conv(x)
    for same in (x.contiguous(memory_format=torch.channels_last), torch.cat((x, x), 1)[:, 5:], x.mT.contiguous().mT):
        assert torch.allclose(winograd.convolve(conv, same), expected, atol=2e-5)


@torch.no_grad()
def test_wide_layers_go_the_fast_way_by_themselves(calls):
    conv = layer(128, 128, 1)
    x = torch.randn(1, 128, 64, 64)
    assert torch.allclose(winograd.convolve(conv, x), conv(x), atol=1e-4)
    assert calls == [(1, 128, 66, 66)]


@torch.no_grad()
@pytest.mark.parametrize(
    ("width", "size", "dtype"), [(64, 64, torch.float32), (128, 32, torch.float32), (128, 64, torch.float64)]
)
def test_other_layers_stay_as_they_are(calls, width, size, dtype):
    conv = layer(width, width, 1).to(dtype)
    x = torch.randn(1, width, size, size, dtype=dtype)
    assert torch.equal(winograd.convolve(conv, x), conv(x))
    assert not calls
