"""The large annotators: networks of the transformers library, built without a download and filled from one file.

transformers is imported where a network is built: it takes seconds, and most pictures need none of these.
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
from ..weights import fill, unwrap
from .published_models import MODELS, Model

ALLOCATORS = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn)


class SkipInit(TorchFunctionMode):
    """While it lasts, weights are made without memory and without first values, which cost seconds.

    Unlike under ``torch.device("meta")``, what classes compute (ranges, rates) is real: ZoeDepth keeps some of it.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Send the functions that allocate weights to the meta device, and nothing else."""
        kwargs = dict(kwargs or {})
        return func(*args, **({**kwargs, "device": "meta"} if func in ALLOCATORS else kwargs))


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights, and what is known about it.

    Attributes:
        model: Its row.
        network: The network itself; a host may move it to a device and to another precision.
    """

    model: Model
    network: nn.Module


def find_model(key: str) -> Model:
    """Return the row of :data:`MODELS` with this key.

    Raises:
        AnnotatorError: There is none.
    """
    for model in MODELS:
        if model.key == key:
            return model
    raise AnnotatorError("annotator", f"'{key}'", "one of " + ", ".join(model.key for model in MODELS))


def load_model(model: Model, content: Mapping[str, Any], where: str = "") -> LoadedModel:
    """Build a network from its embedded configuration and fill it from the content of its weights file.

    Nothing is downloaded and no cache is looked at.

    Args:
        model: A row of :data:`MODELS`.
        content: The published ``model.safetensors`` or ``pytorch_model.bin``.
        where: The file, for messages; the published name by default.

    Returns:
        The network in float32, in evaluation mode and without gradients.

    Raises:
        AnnotatorError: transformers is missing or too old, or the file has missing, extra or misshapen weights, or NaN.
    """
    where = where or model.published
    tensors = unwrap(where, content)
    with SkipInit():
        network = build(model)
    # From the names in the file to those of the installed version's network.
    ours = {published_name(model, name): name for name in network.state_dict()}
    renamed = {ours.get(published_name(model, name), name): tensor for name, tensor in tensors.items()}
    filled = fill(where, f"{model.network} ({model.published})", lambda: network, renamed, model.unused)
    _check_buffers(filled, renamed)
    return LoadedModel(model, filled)


def published_name(model: Model, name: str) -> str:
    """Return the name that a weight has in the published file."""
    for pattern, replacement in model.names:
        name = re.sub(pattern, replacement, name)
    return name


def build(model: Model) -> nn.Module:
    """Build a network as its configuration says, with the class's own first values.

    Args:
        model: A row of :data:`MODELS`.

    Raises:
        AnnotatorError: transformers is missing or too old.
    """
    try:
        import transformers

        configuration, network = (getattr(transformers, name) for name in (model.configuration, model.network))
    except (ImportError, AttributeError) as error:
        fix = "Update it as ComfyUI's requirements.txt says: `pip install -r requirements.txt`."
        raise AnnotatorError(model.key, f"no {model.network} ({error})", "transformers 4.50 or newer", fix) from error
    # Configurations keep and change the dictionaries that they are given.
    built: nn.Module = network(configuration(**copy.deepcopy(dict(model.config))))
    return built


def _check_buffers(network: nn.Module, given: Container[str]) -> None:
    """Refuse a network that needs values which are in no file and which its class does not compute."""
    left = [name for name, tensor in network.named_buffers() if tensor.is_meta and name not in given]
    if left:
        raise AnnotatorError(type(network).__name__, f"no values for {left[0]}", "a version of transformers known here")
