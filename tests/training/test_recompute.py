"""Blocks that are computed again in the backward pass: equal gradients, less kept, nothing left behind."""

import pytest
import torch
from t2i_adapter_pack.training.recompute import recomputing
from torch import nn

from . import samples
from .saved import saved_bytes


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        part = lambda: nn.Sequential(nn.Conv2d(4, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 4, 3, padding=1))  # noqa: E731
        return nn.Sequential(part(), part(), part())


def gradients(net, blocks, autocast=False):
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    with recomputing(blocks), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = net(x).float().square().mean()
    return out, torch.autograd.grad(out, [x, *net.parameters()])


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_are_equal_bit_for_bit(autocast):
    net = network()
    out, plain = gradients(net, [], autocast)
    again, recomputed = gradients(net, net, autocast)
    assert torch.equal(out, again)
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))


def test_a_block_is_computed_twice_and_only_its_input_is_kept():
    net, calls = network(), []
    net[1][0].register_forward_hook(lambda *_: calls.append(1))
    with saved_bytes(net) as everything:
        gradients(net, [])
    assert len(calls) == 1
    with saved_bytes(net) as inputs:
        gradients(net, net)
    assert len(calls) == 3
    # Three blocks' inputs of 4 channels and the result's own, where there were 4 + 16 + 16 each.
    assert inputs.nbytes < 0.3 * everything.nbytes


def test_blocks_are_as_they_were_afterwards_also_after_an_error():
    net = network()
    own = net[0].forward = lambda x: nn.Sequential.forward(net[0], x)  # as other packs hang theirs on
    with pytest.raises(ZeroDivisionError), recomputing(net):
        assert all("forward" in block.__dict__ for block in net)
        assert net[0].forward is not own
        raise ZeroDivisionError
    assert net[0].__dict__["forward"] is own
    assert all("forward" not in block.__dict__ for block in net[1:])


@pytest.mark.parametrize("config", [samples.CONFIG, samples.LIGHT], ids=["full", "light"])
def test_a_run_with_it_equals_one_without_bit_for_bit(config):
    def run(**changes):
        one = samples.trainer(samples.examples(config=config), begin=samples.adapter(config=config), **changes)
        with saved_bytes(one.network) as kept:
            one.advance()
        one.advance()
        return one, kept.nbytes

    plain, everything = run()
    saving, less = run(gradient_checkpointing=True)
    assert plain.losses == saving.losses
    assert all(torch.equal(tensor, saving.weights()[name]) for name, tensor in plain.weights().items())
    assert less < everything


def test_a_run_goes_on_with_it_switched():
    whole = samples.trainer(steps=4)
    begun = samples.trainer(steps=4, gradient_checkpointing=True)
    for _ in range(4):
        whole.advance()
    begun.advance()
    resumed = samples.trainer(steps=4)
    resumed.load_state_dict(begun.state_dict())
    for _ in range(3):
        resumed.advance()
    assert resumed.losses == whole.losses
