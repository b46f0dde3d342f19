"""Load a weights file into a network that holds exactly those weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ..common.files import read_weights
from ..common.impostors import FETCH_AGAIN
from ..common.weights import LayerOperations, WeightsCheck
from .config import DEFAULT_OPERATIONS, AdapterConfig
from .errors import ADAPTER_FILE_ERRORS, CorruptFileError
from .formats import detect, strip_prefixes
from .info import AdapterInfo, FileFacts, info_from_file
from .networks import Adapter, build_adapter
from .shapes import read_config

BUNDLE_SEPARATOR = "#"
ADAPTER_WEIGHTS_CHECK = WeightsCheck(CorruptFileError, FETCH_AGAIN)


def load_adapter_file(
    path: Path, name: str = "", member: str | None = None, operations: LayerOperations = DEFAULT_OPERATIONS
) -> tuple[Adapter, AdapterInfo]:
    """Load an adapter: any published layout, full, light or XL, original or diffusers names.

    The weights are read once into their own memory, so later changes to the file have no effect. Only names and shapes
    are read from a file that is not an adapter.

    Args:
        path: A weights file or a diffusers folder.
        name: How the user names it; the file's name by default.
        member: Which entry of a CoAdapter bundle.
        operations: Namespace that the layers come from.

    Returns:
        The network, in evaluation mode and without gradients, and what was found in the file.

    Raises:
        AdapterError: A subclass; the message says what the file is and what to do.
    """
    where = name or path.name
    file = read_weights(path, ADAPTER_FILE_ERRORS, lambda outlines: _pick(where, outlines, member))
    tensors, shapes = file.tensors, _shapes(file.tensors)
    row = detect(where, shapes)
    config = read_config(where, row, shapes, file.config)
    renamed = {row.rename(key, config.num_res_blocks): tensor for key, tensor in tensors.items()}
    network = assemble(where, config, renamed, operations)
    facts = FileFacts(
        where,
        file.path,
        file.container,
        row.name,
        member,
        file.config,
        file.metadata,
        frozenset(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()),
        sum(tensor.numel() for tensor in tensors.values()),
    )
    return network, info_from_file(facts, config)


def _pick(where: str, outlines: Mapping[str, Tensor], member: str | None) -> dict[str, Tensor]:
    """Return the tensors to read from a file, after checking that it is an adapter."""
    picked = strip_prefixes(where, outlines, member)
    detect(where, _shapes(picked))
    return picked


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def assemble(where: str, config: AdapterConfig, tensors: Mapping[str, Tensor], operations: LayerOperations) -> Adapter:
    """Build the network of a config around the given weights, without copying them.

    Args:
        where: Where the weights come from, for messages.
        config: The shape of the network.
        tensors: Its weights, by its own names.
        operations: Namespace that the layers come from.

    Returns:
        The network, in evaluation mode and without gradients.

    Raises:
        CorruptFileError: Weights are missing, left over, of the wrong shape, or not finite.
    """
    try:
        network = build_adapter(config, operations, device="meta")
    except (ValueError, RuntimeError, ArithmeticError) as error:
        found, says = f"impossible shapes ({error})", "The weights in this file have impossible shapes."
        raise CorruptFileError(where, found, "those of an adapter", FETCH_AGAIN, says=says) from error
    expected = _shapes(network.state_dict())
    fill_network(where, f"a {config.kind} adapter", network, expected, tensors)
    return network


def fill_network(
    where: str, what: str, network: nn.Module, expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]
) -> None:
    """Load weights into a network and prepare it for use.

    Args:
        where: The file, for messages.
        what: What the file should hold, for messages.
        network: The network, on device ``meta``.
        expected: Shape of each of its weights.
        tensors: The weights; kept as they are, in the file's precision.

    Raises:
        CorruptFileError: Weights are missing, left over, of the wrong shape, or not finite.
    """
    ADAPTER_WEIGHTS_CHECK.shapes(where, what, _shapes(tensors), expected)
    ADAPTER_WEIGHTS_CHECK.numbers(where, tensors)
    # assign=True keeps the tensors and their precision instead of copying.
    network.load_state_dict(dict(tensors), strict=True, assign=True)
    network.eval().requires_grad_(False)
