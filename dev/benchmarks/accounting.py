"""Measure the operations that a variant adds to a step: their time, and the tensors that they allocate.

Ours are the wrappers around ComfyUI's calls (without the wrapped calls), the patches, and `get_control` of our
ControlNet. Core's are `get_control` and the additions in `apply_control`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .measure import synchronise


@dataclass(frozen=True)
class Cost:
    """The cost of a variant's own operations in one step.

    Attributes:
        host: Seconds on the host: Python and, on the CPU, computing.
        device: Seconds on the GPU; 0 on the CPU.
        tensors: Number of storages allocated.
        nbytes: Their size in bytes.
    """

    host: float
    device: float
    tensors: int
    nbytes: int


class Account(TorchDispatchMode):
    """Adds up the cost of calls inside `own`, without those inside `foreign`."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.active = False
        self.steps: list[Cost] = []
        self._clear()

    def _clear(self) -> None:
        self.host, self.tensors, self.nbytes = 0.0, 0, 0
        self.events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def end_step(self) -> None:
        """Begin the next step."""
        synchronise(self.device)
        seconds = sum(first.elapsed_time(last) for first, last in self.events) / 1000
        self.steps.append(Cost(self.host, seconds, self.tensors, self.nbytes))
        self._clear()

    @contextlib.contextmanager
    def own(self) -> Iterator[None]:
        """Count the operations in this block; nested calls are counted once."""
        if self.active:
            yield
            return
        self._switch(True)
        try:
            yield
        finally:
            self._switch(False)

    @contextlib.contextmanager
    def foreign(self) -> Iterator[None]:
        """Exclude the operations in this block."""
        self._switch(False)
        try:
            yield
        finally:
            self._switch(True)

    def _switch(self, active: bool) -> None:
        if active:
            self.active = True
            if self.device.type == "cuda":
                self.event = torch.cuda.Event(enable_timing=True)
                self.event.record()
            self.started = time.perf_counter()
            return
        self.host += time.perf_counter() - self.started
        if self.device.type == "cuda":
            end = torch.cuda.Event(enable_timing=True)
            end.record()
            self.events.append((self.event, end))
        self.active = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if self.active:
            # Views and in-place operations return the storage of an input.
            known = {_storage(value) for value in torch.utils._pytree.tree_leaves((args, kwargs)) if _is(value)}
            made = {_storage(value): value for value in torch.utils._pytree.tree_leaves(result) if _is(value)}
            fresh = [value for storage, value in made.items() if storage not in known]
            self.tensors += len(fresh)
            self.nbytes += sum(value.untyped_storage().nbytes() for value in fresh)
        return result


def _is(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _storage(tensor: torch.Tensor) -> int:
    number: int = tensor.untyped_storage()._cdata
    return number


class _Foreign:
    """An executor of ComfyUI whose calls are excluded."""

    def __init__(self, executor: Any, account: Account) -> None:
        self._executor, self._account = executor, account

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._account.foreign():
            return self._executor(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)


def _owned(original: Callable[..., Any], account: Account) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with account.own():
            return original(*args, **kwargs)

    return call


def _wrapper(original: Callable[..., Any], account: Account) -> Callable[..., Any]:
    def call(self: Any, executor: Any, *args: Any, **kwargs: Any) -> Any:
        with account.own():
            return original(self, _Foreign(executor, account), *args, **kwargs)

    return call


def _controlled(original: Callable[..., Any], account: Account) -> Callable[..., Any]:
    def call(h: Any, control: Any, name: str) -> Any:
        if control is None:
            return original(h, control, name)
        with account.own():
            return original(h, control, name)

    return call


@contextlib.contextmanager
def accounting(account: Account) -> Iterator[None]:
    """Count the operations of both variants. Apply adapters inside this block, since wrappers are bound then."""
    import comfy.controlnet
    from comfy.ldm.modules.diffusionmodules import openaimodel

    from ...nodes.sampling import control_net, patches, wrappers

    places: list[tuple[Any, str, Callable[..., Any]]] = [
        (wrappers.SamplingWrappers, "apply_model", _wrapper),
        (wrappers.SamplingWrappers, "calc_cond_batch", _wrapper),
        (wrappers.SamplingWrappers, "observe_step", _wrapper),
        (control_net.T2IAdapterControl, "get_control", _owned),
        (patches.UNetWrapper, "__call__", _wrapper),
        (patches.InputPatch, "__call__", _owned),
        (patches.MiddlePatch, "__call__", _owned),
        (comfy.controlnet.T2IAdapter, "get_control", _owned),
        (openaimodel, "apply_control", _controlled),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, wrap in places:
            stack.enter_context(mock.patch.object(owner, name, wrap(getattr(owner, name), account)))
        yield
