"""Blocks that are computed again in the backward pass: equal gradients, less kept, nothing left behind."""

import pytest
import torch
from t2i_adapter_pack.dev.benchmarks.saved import saved_bytes
from t2i_adapter_pack.training.memory_savers import lean_convolutions, recomputing
from torch import nn

from . import samples


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


FORMS = (
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": (3, 5), "padding": (2, 1), "dilation": (2, 1), "stride": (1, 2)},
    {"kernel_size": 3, "groups": 2, "bias": False},
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
)


def through(layer, size=(9, 8), dtype=torch.float32, lean=True):
    """Output, gradient of the input, and what was kept."""
    x = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    with saved_bytes(layer) as kept, lean_convolutions([layer] if lean else []):
        out = layer(x)
    again = torch.linspace(-1, 1, out.numel()).view_as(out).to(dtype)
    return out, torch.autograd.grad(out, x, again)[0], kept.nbytes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_frozen_convolutions_have_equal_gradients_without_their_inputs(form, dtype):
    layer = nn.Conv2d(4, 6, **form).to(dtype).requires_grad_(False)
    out, gradient, kept = through(layer, dtype=dtype, lean=False)
    lean, same, less = through(layer, dtype=dtype)
    assert torch.equal(out, lean)
    assert torch.equal(gradient, same)
    assert kept > 0
    # What is padded in another way than with zeros is left to torch.
    assert less == (kept if "padding_mode" in form or form.get("padding") == "same" else 0)
    assert "_conv_forward" not in layer.__dict__


def test_convolutions_that_learn_or_were_changed_by_others_are_left_alone():
    learns, changed = nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, 3).requires_grad_(False)
    own = changed._conv_forward = lambda x, weight, bias: nn.functional.conv2d(x, weight, bias) * 2
    with lean_convolutions([learns]):
        learns(torch.ones(1, 4, 5, 5, requires_grad=True)).sum().backward()
    assert learns.weight.grad is not None
    with lean_convolutions([changed]):
        assert changed.__dict__["_conv_forward"] is own
    assert changed.__dict__["_conv_forward"] is own


def test_the_trainer_keeps_no_inputs_of_frozen_convolutions():
    toy = samples.ToyUNet(width=32).requires_grad_(False)

    def denoise(noisy, times, prompts, features):
        return toy(noisy, times, prompts, features) + toy.leave(2 * features[0])

    def run(blocks):
        begin = samples.adapter(config=samples.networks.AdapterConfig("full", 1, 8, (32, 8, 8, 8), (1, 2, 3), 1))
        one = samples.trainer(begin=begin, unet=samples.denoiser(denoise=denoise, blocks=blocks))
        with saved_bytes(one.network, toy) as kept:
            one.advance()
        return one, kept.nbytes

    (plain, everything), (lean, less) = run(()), run((toy,))
    assert plain.losses == lean.losses
    assert all(torch.equal(tensor, lean.weights()[name]) for name, tensor in plain.weights().items())
    assert less < everything
    assert all("_conv_forward" not in layer.__dict__ for layer in toy.modules())


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
