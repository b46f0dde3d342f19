"""Fill a network with exactly the tensors of a weights file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..common.weights import WeightsCheck
from .errors import AnnotatorError

_Network = TypeVar("_Network", bound=nn.Module)
ANNOTATOR_WEIGHTS_CHECK = WeightsCheck(
    AnnotatorError, "Fetch the file again, or choose the weights that belong to this annotator."
)


def unwrap(where: str, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a file without the nesting and prefixes that training added.

    Args:
        where: The file, for messages.
        content: Names and tensors, perhaps below ``state_dict``, perhaps each with ``module.`` before its name.

    Raises:
        AnnotatorError: One of the values is not a tensor.
    """
    inner = content.get("state_dict", content)
    tensors = dict(inner) if isinstance(inner, Mapping) else {"state_dict": inner}
    if wrong := [name for name, tensor in tensors.items() if not isinstance(tensor, Tensor)]:
        found = f"{wrong[0]} of type {type(tensors[wrong[0]]).__name__}"
        raise AnnotatorError(
            where, found, "tensors", ANNOTATOR_WEIGHTS_CHECK.fix, says="This file holds more than a network's weights."
        )
    if tensors and all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def fill_annotator(
    where: str, layout: str, build: Callable[[], _Network], tensors: Mapping[str, Tensor], unused: tuple[str, ...] = ()
) -> _Network:
    """Build a network and fill it with exactly its weights.

    Args:
        where: The file, for messages.
        layout: Description of the expected weights, for messages, such as ``HED (ControlNet's, 37 tensors)``.
        build: Builds the network.
        tensors: The weights by the network's own names; float32 ones are used without a copy.
        unused: Ends of names that a file may contain or lack, without effect. If the network has them, it keeps its
            own values, or gets zeros.

    Returns:
        The network in float32, in evaluation mode and without gradients.

    Raises:
        AnnotatorError: Weights are missing, extra, misshapen, not floating-point, or NaN.
    """
    with torch.device("meta"):
        network = build()
    values = network.state_dict()
    used = {name: tensor for name, tensor in tensors.items() if not name.endswith(unused)}
    needed = {name: tuple(value.shape) for name, value in values.items() if not name.endswith(unused)}
    ANNOTATOR_WEIGHTS_CHECK.shapes(where, layout, {name: tuple(tensor.shape) for name, tensor in used.items()}, needed)
    ANNOTATOR_WEIGHTS_CHECK.numbers(where, used)
    # Half-precision files (HED) are computed in float32, as they were published to be.
    state = {name: tensor.to(torch.float32) for name, tensor in used.items()}
    spare = {name: value for name, value in values.items() if name not in needed}
    state |= {name: torch.zeros_like(value, device="cpu") if value.is_meta else value for name, value in spare.items()}
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)
