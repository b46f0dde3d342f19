"""Fingerprints of tensors: of one before every run, and of many for a training run's records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

# Number of columns in which words are summed. A prime, so that shifting or flipping a picture moves words to other
# columns; small enough for the L1 cache.
COLUMNS = 2039
WORD = torch.int64.itemsize
# Numbers sampled from each weight. A LoRA changes every number of the weights it touches.
GLANCED = 64


def fingerprint(tensor: Tensor) -> bytes:
    """Return a fingerprint of a tensor's numbers.

    A tensor's version counter misses writes through numpy or another view, and all writes in inference mode. So this
    reads all of its memory once, as integers: 0.3 ms for a picture of 1024 x 1024 in full precision.

    Args:
        tensor: Any shape, type and device.

    Returns:
        16 bytes, equal for equal numbers, shape, type and order in memory.
    """
    stored = _in_order_of_memory(tensor.detach())
    data = stored.flatten().view(torch.uint8)
    if data.storage_offset() % WORD:
        data = data.clone()  # a view as int64 must start at a multiple of 8 bytes
    words = data[: len(data) // WORD * WORD].view(torch.int64)
    rows = len(words) // COLUMNS
    sums = words[: rows * COLUMNS].view(rows, COLUMNS).sum(0)
    rest = words[rows * COLUMNS :]
    sums[: len(rest)] += rest
    digest = hashlib.blake2b(f"{tensor.dtype} {tuple(tensor.shape)}".encode(), digest_size=16)
    for part in (sums, data[WORD * len(words) :]):
        digest.update(part.cpu().numpy().tobytes())
    return digest.digest()


def _in_order_of_memory(tensor: Tensor) -> Tensor:
    """Permute a tensor's axes to their order in memory, which avoids a copy for most views."""
    axes = sorted(range(tensor.ndim), key=tensor.stride().__getitem__, reverse=True)
    return tensor.permute(axes).contiguous()


def weights_fingerprint(tensors: Iterable[Tensor]) -> str:
    """Return a short fingerprint of a network's weights from a sample of each: fast at any size.

    Args:
        tensors: The weights, always in the same order, on one device.
    """
    flat = (tensor.detach().reshape(-1) for tensor in tensors)
    return joint_fingerprint([torch.cat([one[:: max(1, one.numel() // GLANCED)].float() for one in flat])])


def joint_fingerprint(tensors: Iterable[Tensor]) -> str:
    """Return a short fingerprint of the numbers and shapes of several tensors."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()
