"""Count how often the host waits for a value from the device.

On a GPU, CUDA reports the waits. The CPU never waits, so there we count the operations that would wait on a GPU.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# float(), int(), bool() and item() of a tensor call the first, in inference mode one of the next two. The others have
# an output size or a branch that depends on values.
WAITING = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal", "unique_dim", "_unique2")
# These read the memory of a tensor on the CPU without an operation.
READING = (torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.cpu)
CUDA_WORDS = "synchronizing CUDA operation"


class _Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function.overloadpacket.__name__ in WAITING
        return function(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += any(function is each for each in READING)
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def counting(device: torch.device) -> Iterator[Callable[[], int]]:
    """Count while the block runs; yield a function that returns the count so far."""
    with _on_cuda() if device.type == "cuda" else _on_cpu() as count:
        yield count


@contextlib.contextmanager
def _on_cpu() -> Iterator[Callable[[], int]]:
    with _Methods() as methods, _Operations() as operations:
        yield lambda: methods.count + operations.count


@contextlib.contextmanager
def _on_cuda() -> Iterator[Callable[[], int]]:
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield lambda: sum(CUDA_WORDS in str(each.message) for each in caught)
        finally:
            torch.cuda.set_sync_debug_mode(before)
