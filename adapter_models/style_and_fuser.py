"""Load style adapters and CoAdapter fusers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ..common.files import read_weights
from ..common.impostors import FETCH_AGAIN
from ..common.weights import LayerOperations
from .config import DEFAULT_OPERATIONS
from .errors import ADAPTER_FILE_ERRORS, CorruptFileError, NotAnAdapterError
from .formats import ANOTHER, find_format, members, not_expected, strip_prefixes
from .fuser import CoAdapterFuser, FuserConfig, read_fuser_config
from .loading import fill_network
from .style import StyleAdapter, StyleConfig, read_style_config
from .transformer import HEADS, PublishedNetwork, on_meta

_Config = TypeVar("_Config", StyleConfig, FuserConfig)
_Network = TypeVar("_Network", bound=PublishedNetwork)


@dataclass(frozen=True)
class Companion(Generic[_Config, _Network]):
    """A network used together with adapters.

    Attributes:
        what: Its name in messages.
        signature: A tensor that only such a file has. The prefix of its name is the prefix of all.
        read_config: Shapes by published names -> the network's config.
        build: Config and layers -> the network.
    """

    what: str
    signature: str
    read_config: Callable[[Mapping[str, tuple[int, ...]]], _Config]
    build: Callable[[_Config, LayerOperations], _Network]


STYLE_ADAPTER = Companion("a T2I style adapter", "style_embedding", read_style_config, StyleAdapter)
FUSER = Companion("a CoAdapter fuser", "seq_proj", read_fuser_config, CoAdapterFuser)


def load_companion(
    kind: Companion[_Config, _Network], path: Path, name: str = "", operations: LayerOperations = DEFAULT_OPERATIONS
) -> _Network:
    """Load a style adapter or a fuser from a file of its own or from a training checkpoint.

    Args:
        kind: Which network.
        path: A weights file.
        name: How the user names it; the file's name by default.
        operations: Namespace that the layers come from.

    Returns:
        The network, in evaluation mode and without gradients; its weights are in memory of their own.

    Raises:
        AdapterError: A subclass; the message says what the file is and what to do.
    """
    where = name or path.name
    tensors = read_weights(path, ADAPTER_FILE_ERRORS, lambda outlines: _own_tensors(kind, where, outlines)).tensors
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    try:
        config = kind.read_config(shapes)
        _check_heads(where, shapes)
        expected = on_meta(lambda: kind.build(config, DEFAULT_OPERATIONS))
        with torch.device("meta"):
            network = kind.build(config, operations)
    except (LookupError, ValueError, RuntimeError, ArithmeticError) as error:
        if isinstance(error, CorruptFileError):
            raise
        found, says = f"impossible shapes ({error})", "The weights in this file have impossible shapes."
        raise CorruptFileError(where, found, f"those of {kind.what}", FETCH_AGAIN, says=says) from error
    fill_network(where, kind.what, network, expected, tensors)
    return network


def _check_heads(where: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    width = shapes["ln_pre.weight"][0]
    if width % HEADS:
        found, says = f"a transformer of width {width}", "The weights in this file have impossible shapes."
        raise CorruptFileError(where, found, f"a multiple of {HEADS}", FETCH_AGAIN, says=says)


def _own_tensors(kind: Companion[_Config, _Network], where: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of this network only, without a trainer's prefix."""
    signs = [name for name in tensors if name == kind.signature or name.endswith(f".{kind.signature}")]
    if len(signs) == 1:
        prefix = signs[0].removesuffix(kind.signature)
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    bundled = members(tensors)
    if bundled or find_format(strip_prefixes(where, tensors)) is not None:
        found = f"a CoAdapter bundle of {', '.join(bundled)}" if bundled else "a T2I-Adapter"
        says = f"This file is {found}, not {kind.what}."
        raise NotAnAdapterError(where, found, kind.what, ANOTHER, says=says, topic="t2i-adapter")
    raise not_expected(where, tensors, kind.what)
