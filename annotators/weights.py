"""From the tensors of a weights file to a network that holds exactly those weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..common.weights import WeightsCheck
from .errors import AnnotatorError

# A namespace with a Conv2d, such as torch.nn; hosts pass namespaces of their own, which share no base class.
Operations = Any
Network = TypeVar("Network", bound=nn.Module)
WEIGHTS_CHECK = WeightsCheck(
    AnnotatorError, "Fetch the file again, or choose the weights that belong to this annotator."
)


def unwrap(where: str, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a file without the wrapping that training left around them.

    Args:
        where: The file, for messages.
        content: Names and tensors, perhaps below ``state_dict``, perhaps each with ``module.`` before its name.

    Raises:
        AnnotatorError: Something that is no tensor.
    """
    inner = content.get("state_dict", content)
    tensors = dict(inner) if isinstance(inner, Mapping) else {"state_dict": inner}
    if wrong := [name for name, tensor in tensors.items() if not isinstance(tensor, Tensor)]:
        found = f"{wrong[0]} of type {type(tensors[wrong[0]]).__name__}"
        raise AnnotatorError(where, found, "tensors", WEIGHTS_CHECK.fix)
    if tensors and all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def fill(
    where: str, layout: str, build: Callable[[], Network], tensors: Mapping[str, Tensor], unused: tuple[str, ...] = ()
) -> Network:
    """Build a network and give it the weights, all of them and no others.

    Args:
        where: The file, for messages.
        layout: What the weights should be, for messages, such as ``HED (ControlNet's, 37 tensors)``.
        build: Makes the network.
        tensors: The weights by the network's own names; they are kept, not copied, where they are float32.
        unused: Ends of names that may be there or not, and that change nothing. Where the network has them, too, it
            keeps its own values, or gets zeros.

    Returns:
        The network in float32, in evaluation mode and without gradients.

    Raises:
        AnnotatorError: Missing, extra or misshapen weights, weights that are no floating-point numbers, NaN.
    """
    with torch.device("meta"):
        network = build()
    values = network.state_dict()
    used = {name: tensor for name, tensor in tensors.items() if not name.endswith(unused)}
    needed = {name: tuple(value.shape) for name, value in values.items() if not name.endswith(unused)}
    WEIGHTS_CHECK.shapes(where, layout, {name: tuple(tensor.shape) for name, tensor in used.items()}, needed)
    WEIGHTS_CHECK.numbers(where, used)
    # Half-precision files (HED) are computed in float32, as they were published to be.
    state = {name: tensor.to(torch.float32) for name, tensor in used.items()}
    spare = {name: value for name, value in values.items() if name not in needed}
    state |= {name: torch.zeros_like(value, device="cpu") if value.is_meta else value for name, value in spare.items()}
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)
