"""The table of optimizers, and what of their memory a run's state keeps."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from .errors import TrainingError

# Devices with torch's fused AdamW.
FUSED = ("cpu", "cuda")


@dataclass(frozen=True)
class OptimizerKind:
    """An optimizer of a library, imported when it is used.

    Attributes:
        name: Name that the user chooses.
        module: Module with the class.
        class_name: Name of the class.
        package: Package to install if the module is missing.
        learning_rate: Default of the learning rate.
        memory: Bytes that it stores for each weight.
        options: Further arguments of the class, by the type of device.
        remembered: Entries of its parameter group that a step changes.
    """

    name: str
    module: str
    class_name: str
    package: str
    learning_rate: float
    memory: float
    options: Callable[[str], Mapping[str, Any]] = lambda device: {}
    remembered: tuple[str, ...] = ()


OPTIMIZERS = (
    # The paper's learning rate.
    OptimizerKind("adamw", "torch.optim", "AdamW", "torch", 1e-5, 8, lambda device: {"fused": device in FUSED}),
    OptimizerKind("adamw8bit", "bitsandbytes.optim", "AdamW8bit", "bitsandbytes", 1e-5, 2.1),
    # Source: arXiv 2306.06101; its authors' advice for diffusion models. It finds the learning rate, which this scales.
    OptimizerKind(
        "prodigy",
        "prodigyopt",
        "Prodigy",
        "prodigyopt",
        1.0,
        16,
        lambda device: {"use_bias_correction": True, "safeguard_warmup": True},
        remembered=("d", "d_max", "d_numerator", "k"),
    ),
    # It scales the learning rate by the size of each weight, about 0.01 in a new adapter: steps as long as AdamW's.
    OptimizerKind("adafactor", "torch.optim", "Adafactor", "torch>=2.5", 1e-3, 0.1),
)


def optimizer_named(name: str) -> OptimizerKind:
    """Return a row of :data:`OPTIMIZERS`."""
    return next(row for row in OPTIMIZERS if row.name == name)


def optimizer_class(kind: OptimizerKind) -> Any:
    """Import an optimizer.

    Raises:
        TrainingError: Its package is not installed, or too old.
    """
    try:
        return getattr(importlib.import_module(kind.module), kind.class_name)
    except (ImportError, AttributeError) as error:
        raise TrainingError(
            "optimizer",
            f"{kind.name}, and no usable package {kind.package} ({error})",
            "a package that has it",
            f'Run `pip install "{kind.package}"`, or choose adamw.',
            says=f"The optimizer {kind.name} needs the package {kind.package}.",
        ) from error


def make_optimizer(
    kind: OptimizerKind, parameters: Sequence[Tensor], learning_rate: float, weight_decay: float
) -> Optimizer:
    """Make an optimizer for parameters on one device.

    Raises:
        TrainingError: As :func:`optimizer_class`.
    """
    made: Optimizer = optimizer_class(kind)(
        list(parameters), lr=learning_rate, weight_decay=weight_decay, **kind.options(parameters[0].device.type)
    )
    return made


def rehearsed_state(kind: OptimizerKind, parameters: Sequence[Tensor]) -> dict[str, Any]:
    """Return the state of an optimizer after one step on copies of the parameters, for its names, types and shapes.

    Args:
        kind: The optimizer.
        parameters: Parameters before their first step.
    """
    copies = [torch.nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    for copy in copies:
        copy.grad = torch.full_like(copy, 1e-6)
    optimizer = make_optimizer(kind, copies, kind.learning_rate, 0.0)
    optimizer.step()
    return optimizer.state_dict()


def problems_of_memory(found: Mapping[str, Any], kind: OptimizerKind, rehearsed: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with an optimizer's state from a file, compared with the state of a rehearsal.

    Args:
        found: The state from the file.
        kind: The optimizer.
        rehearsed: From :func:`rehearsed_state`.
    """
    # Before the first step there is nothing.
    if found.get("state") != {}:
        yield from _differences("the optimiser's memory", found.get("state"), rehearsed["state"])
    expected = {name: rehearsed["param_groups"][0][name] for name in kind.remembered}
    if expected:
        yield from _differences("the optimiser's memory", remembered(found, kind), expected)


def remembered(state: Mapping[str, Any], kind: OptimizerKind) -> dict[str, Any]:
    """Return the entries of the parameter group that a step changes; those that a state lacks are left out."""
    groups = state.get("param_groups")
    group = groups[0] if isinstance(groups, list) and groups and isinstance(groups[0], Mapping) else {}
    return {name: group[name] for name in kind.remembered if name in group}


def _differences(where: str, found: Any, expected: Any) -> Iterator[str]:
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping) or found.keys() != expected.keys():
            yield f"{where} has other parts than that of this optimizer and adapter"
            return
        for name, value in expected.items():
            yield from _differences(f"{where} at {name}", found[name], value)
    elif isinstance(expected, Tensor):
        if not isinstance(found, Tensor) or (found.dtype, found.shape, found.layout) != (
            expected.dtype,
            expected.shape,
            expected.layout,
        ):
            yield f"{where} has another type or shape"
        elif not torch.isfinite(found).all():
            yield f"{where} is NaN or infinite"
    elif type(found) is not type(expected) or (isinstance(found, float) and not math.isfinite(found)):
        yield f"{where} is not a finite {type(expected).__name__}"
