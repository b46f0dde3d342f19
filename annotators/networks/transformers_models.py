"""Networks of the transformers library, built without a download and filled from one weights file.

transformers is imported only when a network is built: that takes seconds, and most annotators need none of these.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..errors import AnnotatorError
from ..weights import fill_annotator, unwrap
from .transformers_configs import TransformersModel

ALLOCATORS = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn)


class SkipInit(TorchFunctionMode):
    """Allocate parameters on meta and skip initialisation, which takes seconds.

    Unlike ``torch.device("meta")`` it leaves values that classes compute (ranges, rates) real: ZoeDepth keeps some.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Send only the functions that allocate weights to the meta device."""
        kwargs = dict(kwargs or {})
        return func(*args, **({**kwargs, "device": "meta"} if func in ALLOCATORS else kwargs))


class LoadedModel(nn.Module):
    """A network with its weights and the description of its input and output.

    Args:
        model: The description.
        network: The network itself.
    """

    def __init__(self, model: TransformersModel, network: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.network = network


@dataclass(frozen=True)
class FromTransformers:
    """The loader of one network of transformers.

    Attributes:
        model: The description of the network.
    """

    model: TransformersModel

    def __call__(self, content: Mapping[str, Any], where: str, _: Any = nn) -> LoadedModel:
        """Load the network as :func:`load_model` does; its layers are always torch's own."""
        return load_model(self.model, content, where)


def load_model(model: TransformersModel, content: Mapping[str, Any], where: str = "") -> LoadedModel:
    """Build a network from its configuration and fill it from the content of its weights file.

    Nothing is downloaded, and no cache is searched.

    Args:
        model: The description of the network.
        content: The published ``model.safetensors`` or ``pytorch_model.bin``.
        where: The file, for messages; the network's class by default.

    Returns:
        The network in float32, in evaluation mode and without gradients.

    Raises:
        AnnotatorError: transformers is missing or too old, or the file has missing, extra or misshapen weights, or NaN.
    """
    where = where or model.network
    tensors = unwrap(where, content)
    with SkipInit():
        network = build_network(model)
    # From the names in the file to those of the installed version's network.
    ours = {published_name(model, name): name for name in network.state_dict()}
    renamed = {ours.get(published_name(model, name), name): tensor for name, tensor in tensors.items()}
    filled = fill_annotator(where, model.network, lambda: network, renamed, model.unused)
    _check_buffers(filled, renamed)
    return LoadedModel(model, filled)


def published_name(model: TransformersModel, name: str) -> str:
    """Return the name that a weight has in the published file."""
    for pattern, replacement in model.names:
        name = re.sub(pattern, replacement, name)
    return name


def build_network(model: TransformersModel) -> nn.Module:
    """Build a network from its configuration, with the initial values of its class.

    Args:
        model: The description of the network.

    Raises:
        AnnotatorError: transformers is missing or too old.
    """
    try:
        import transformers

        configuration, network = (getattr(transformers, name) for name in (model.configuration, model.network))
    except (ImportError, AttributeError) as error:
        raise AnnotatorError(
            model.network,
            str(error),
            "transformers 4.50 or newer",
            "Update it as ComfyUI's requirements.txt says: `pip install -r requirements.txt`.",
            says="This annotator needs a newer version of the transformers library.",
        ) from error
    # Configurations keep and change the dictionaries that they are given.
    built: nn.Module = network(configuration(**copy.deepcopy(dict(model.config))))
    return built


def _check_buffers(network: nn.Module, given: Container[str]) -> None:
    """Refuse a network with buffers that neither the file nor the class provides."""
    left = [name for name, tensor in network.named_buffers() if tensor.is_meta and name not in given]
    if left:
        raise AnnotatorError(
            type(network).__name__,
            f"no values for {left[0]}",
            "a version of transformers that computes them",
            "Install the version that ComfyUI's requirements.txt names.",
            says="This version of transformers builds the network differently.",
        )
