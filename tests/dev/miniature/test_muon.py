"""The optimiser of the landscapes' VAE."""

from __future__ import annotations

import copy

import pytest
import torch
from t2i_adapter_miniature import muon
from torch import nn


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1))


@pytest.mark.parametrize("shape", [(3, 8, 40), (2, 40, 8)])
def test_singular_values_come_near_one(shape):
    torch.manual_seed(1)
    values = torch.linalg.svdvals(muon.orthogonal(torch.randn(shape) * 1e-3))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_inner_convolutions_turn_and_the_rest_moves_by_the_rate():
    network = layers()
    before = [param.detach().clone() for param in network.parameters()]
    optimiser = muon.Muon(network.parameters(), lr=1e-2)
    network(torch.randn(2, 3, 8, 8)).square().mean().backward()
    optimiser.step()
    moved = [param.detach() - old for param, old in zip(network.parameters(), before, strict=True)]
    inner = torch.linalg.svdvals(moved[2].flatten(1))
    assert inner.max() / inner.min() < 2
    for change in (moved[0], moved[1], moved[3]):
        torch.testing.assert_close(change.abs(), torch.full_like(change, 1e-2), rtol=1e-2, atol=0)


def test_a_restored_optimiser_continues_as_the_first_would_have():
    picture = torch.randn(2, 3, 8, 8)

    def train(network: nn.Module, optimiser: muon.Muon) -> None:
        for _ in range(2):
            optimiser.zero_grad()
            network(picture).square().mean().backward()
            optimiser.step()

    first = layers()
    optimiser = muon.Muon(first.parameters(), lr=1e-2)
    train(first, optimiser)
    second = layers()
    second.load_state_dict(first.state_dict())
    other = muon.Muon(second.parameters(), lr=1e-2)
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for network, each in ((first, optimiser), (second, other)):
        train(network, each)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first.parameters(), second.parameters(), strict=True))
