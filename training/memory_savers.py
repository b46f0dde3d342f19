"""Backpropagate through a frozen network: store less of it, recompute the rest, and let nothing be overwritten."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

# What torch calls for ``+=``, ``-=``, ``*=`` and ``/=``.
IN_PLACE = ("add_", "sub_", "mul_", "div_")


@contextlib.contextmanager
def recomputing(blocks: Iterable[nn.Module]) -> Iterator[None]:
    """Make blocks store only their inputs in the forward pass and recompute the rest in the backward pass.

    Gradients are equal, bit for bit if the blocks' operations are deterministic. Only the forward pass must run inside
    this context. The blocks are restored afterwards, also after an error.

    Args:
        blocks: Modules that are not nested and have no randomness such as dropout.
    """
    with contextlib.ExitStack() as stack:
        for block in blocks:
            again = functools.partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
            _hang(stack, block, "forward", again)
        yield


@contextlib.contextmanager
def lean_convolutions(network: Iterable[nn.Module]) -> Iterator[None]:
    """Make the frozen convolutions of a network store only their weights in the forward pass.

    The gradient of a convolution's input needs only the weights; torch also stores the input, for the gradient of the
    weights. Results are equal. The forward pass must run inside this context, and so must the backward pass if it
    recomputes blocks. The convolutions are restored afterwards, also after an error. Convolutions already patched
    elsewhere are skipped.

    Args:
        network: The network's blocks, or the network itself in a list.
    """
    with contextlib.ExitStack() as stack:
        for layer in (layer for block in network for layer in block.modules()):
            if isinstance(layer, nn.Conv2d) and _is_plain(layer):
                _hang(stack, layer, "_conv_forward", functools.partial(_convolve, layer))
        yield


class _OutOfPlace(TorchFunctionMode):
    """Makes ``x += y`` and its like return a new tensor. Statements that rely on the change alone would lose it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        return (getattr(Tensor, name[:-1]) if name in IN_PLACE else func)(*args, **(kwargs or {}))


@contextlib.contextmanager
def out_of_place(blocks: Iterable[nn.Module]) -> Iterator[None]:
    """Make ``+=`` and ``*=`` in the forward of blocks return new tensors.

    Such a block overwrites what its own backward pass needs: autograd refuses it, and recomputed it would give wrong
    gradients without an error. Only the forward pass must run inside this context.

    Args:
        blocks: Modules that are not nested and change tensors in place by these operators alone.
    """

    def forward(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with _OutOfPlace():
            return original(*args, **kwargs)

    with contextlib.ExitStack() as stack:
        for block in blocks:
            _hang(stack, block, "forward", functools.partial(forward, block.forward))
        yield


def _hang(stack: contextlib.ExitStack, module: nn.Module, name: str, function: Callable[..., Any]) -> None:
    """Replace a method on the instance, where it hides the class's own."""
    stack.callback(_put_back, module, name, module.__dict__.get(name))
    setattr(module, name, function)


def _put_back(module: nn.Module, name: str, function: object) -> None:
    if function is None:
        delattr(module, name)
    else:
        module.__dict__[name] = function


def _is_plain(layer: nn.Conv2d) -> bool:
    changed = "_conv_forward" in layer.__dict__ or type(layer)._conv_forward is not nn.Conv2d._conv_forward
    return not changed and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _convolve(layer: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    frozen = not weight.requires_grad and (bias is None or not bias.requires_grad)
    if frozen and x.requires_grad and torch.is_grad_enabled():
        how = (layer.stride, layer.padding, layer.dilation, layer.groups)
        result: Tensor = _FrozenConvolution.apply(x, weight, bias, *how)
    else:
        result = nn.Conv2d._conv_forward(layer, x, weight, bias)
    return result


class _FrozenConvolution(torch.autograd.Function):
    """A convolution that stores only its weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.how = x.shape, how
        return functional.conv2d(x, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        # The input's shape is enough.
        found = conv2d_input(ctx.shape, weight, gradients[0], *ctx.how)
        return (found, *(None,) * 6)
