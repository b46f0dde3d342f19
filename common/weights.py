"""The check of weights: exactly those of a network, and all of them finite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .errors import PackError

# Numbers of a shorter type converted at a time during the check.
CONVERTED_AT_ONCE = 1 << 20
Shape = tuple[int, ...]
# A namespace of layers such as torch.nn; hosts pass their own, which share no base class.
LayerOperations = Any


@dataclass(frozen=True)
class WeightsCheck:
    """The check of weights.

    Attributes:
        error: The class that a library raises.
        fix: The fix that its messages give.
    """

    error: type[PackError]
    fix: str

    def shapes(self, where: str, what: str, got: Mapping[str, Shape], expected: Mapping[str, Shape]) -> None:
        """Refuse weights that are not exactly those of a network; the message names the first that differs.

        Args:
            where: The file, for messages.
            what: What it should hold, for messages.
            got: Name -> shape, as in the file.
            expected: Name -> shape, as in the network.

        Raises:
            PackError: Of the class ``error``: weights are missing, left over, or of another shape.
        """
        for name in sorted(expected.keys() | got.keys()):
            if got.get(name) != expected.get(name):
                found = f"{name} {list(got[name]) if name in got else 'missing'}"
                right = f"{list(expected[name]) if name in expected else 'no such weights'} in {what}"
                raise self.error(
                    where, found, right, self.fix, says=f"The weights in this file are not those of {what}."
                )

    def numbers(self, where: str, tensors: Mapping[str, Tensor]) -> None:
        """Refuse weights that are not floating-point numbers, and NaN or infinite ones.

        Args:
            where: The file, for messages.
            tensors: The weights, on the CPU, or outlines of them on ``meta``.

        Raises:
            PackError: Of the class ``error``.
        """
        for name, tensor in tensors.items():
            if not tensor.dtype.is_floating_point:
                says = "This file holds whole numbers in place of weights."
                raise self.error(where, f"{name} of type {tensor.dtype}", "floating-point weights", self.fix, says=says)
        # Outlines (meta) have no numbers.
        solid = {name: tensor for name, tensor in tensors.items() if not tensor.is_meta}
        # A finite sum proves that all numbers are finite. Otherwise one is not, or the sum overflowed: count them.
        if all(total.isfinite() for total in _sums(solid.values())):
            return
        for name, tensor in solid.items():
            if bad := int((~torch.isfinite(_wide(tensor))).sum()):
                says = "This file holds broken weights: some are NaN or infinite."
                found = f"{bad} NaN or infinite numbers in {name}"
                raise self.error(where, found, "finite weights", self.fix, says=says)


def _sums(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Sum each tensor, or each part of it."""
    wide = torch.empty(CONVERTED_AT_ONCE)
    for tensor in tensors:
        if tensor.dtype == wide.dtype:
            yield tensor.sum()
            continue
        # torch would convert the whole tensor at once and take more memory than the file.
        for part in tensor.flatten().split(len(wide)):
            yield wide[: len(part)].copy_(part).sum()


def _wide(tensor: Tensor) -> Tensor:
    """Convert an 8-bit tensor to a type that isfinite supports; return any other as it is."""
    return tensor if tensor.dtype.itemsize > 1 else tensor.to(torch.float32)
