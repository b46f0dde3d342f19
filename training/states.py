"""Check a run's state before the trainer takes any of it: the file may come from anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .checkpoints import RESTORE, STATE_FILE
from .errors import CheckpointError
from .optimizers import OPTIMIZERS, optimizer_named, problems_of_memory, rehearsed_state
from .recipe import RECIPE_MARK
from .settings import LATER

# Layout of a state; increase it when older states can't be resumed.
STATE_VERSION = 1
PARTS: tuple[tuple[str, type], ...] = (
    ("version", int),
    ("origin", Mapping),
    ("network", Mapping),
    ("average", list),
    ("optimiser", Mapping),
    ("scaler", Mapping),
    ("losses", list),
)
# Names in the state of AdamW and of GradScaler.
MOMENTS = ("exp_avg", "exp_avg_sq")
SCALE, TRACKER = "scale", "_growth_tracker"
_PLAIN = (str, int, float, bool, type(None))
_LABELS = {"data": "data set", "denoiser": "diffusion model", "steps": "number of steps"}
# How messages name a fact that is only known by its fingerprint.
CHANGES = {
    "adapter": "another adapter",
    "data": "other examples",
    "denoiser": "another diffusion model, or other LoRAs in it",
}


def check_parts(state: Any) -> None:
    """Check that a state has all its parts, and that this version can read it.

    Args:
        state: Contents of the file.

    Raises:
        CheckpointError: This is not a state, or it comes from another version of the pack.
    """
    if not isinstance(state, Mapping):
        raise _no_state(f"a {type(state).__name__}")
    for name, expected in PARTS:
        if not isinstance(state.get(name), expected):
            found = f"a {type(state[name]).__name__} as its {name}" if name in state else f"no {name}"
            raise _no_state(f"a state with {found}")
        if name == "version" and state[name] != STATE_VERSION:
            raise CheckpointError(
                "checkpoint",
                f"version {str(state[name])[:20]}",
                f"version {STATE_VERSION}",
                "It comes from another version of the pack: choose another run_name.",
                says="The run was made by a version of the pack that this one can't continue from.",
            )
    if not all(isinstance(name, str) and isinstance(value, _PLAIN) for name, value in state["origin"].items()):
        raise _no_state("a state whose origin has other values than texts and numbers")
    if not isinstance(state.get("data_changes", []), list):
        raise _no_state("a state whose data_changes are no list")
    if not all(type(loss) is float and math.isfinite(loss) for loss in state["losses"]):
        raise _no_state("a state whose losses are not finite numbers")


def check_same_run(state: Any, facts: Mapping[str, Any], steps: int, *, new_data: bool = False) -> None:
    """Check that a state can be continued under the current settings.

    Args:
        state: Contents of the file.
        facts: What the current run begins with, by the names in a state's origin.
        steps: Steps of the current run.
        new_data: Accept other samples, if they became examples in the same way.

    Raises:
        CheckpointError: This is not a state, it began with other facts, or it has already made more steps.
    """
    check_parts(state)
    # Older versions of the pack noted fewer facts; those without a default can't be compared.
    began, made = {**LATER, **state["origin"]}, len(state["losses"])
    changed = [name for name, value in facts.items() if began.get(name, value) != value]
    other_data = "data" in changed and _same_recipe(began["data"], facts["data"])
    if other_data and new_data:
        changed.remove("data")
    if changed:
        now = ", ".join(CHANGES.get(name, f"{name} {facts[name]}") for name in changed)
        then = ", ".join("those" if name in CHANGES else f"{name} {str(began[name])[:100]}" for name in changed)
        raise CheckpointError(
            "run_name",
            f"a run that began differently; now {now}",
            f"{then} that it began with",
            "Choose another run_name for a new run, or restore them to continue this one."
            + (" To continue it with the new data, set allow_new_data." if other_data else ""),
            says=f"The run of this name began with another {', '.join(_LABELS.get(name, name) for name in changed)}.",
        )
    if made > steps:
        raise CheckpointError(
            "steps",
            f"{steps}, and a run that has made {made}",
            "at least as many",
            "Raise steps, or choose another run_name for a shorter run.",
            says=f"The run of this name has already made {made} steps, more than the {steps} asked for.",
        )


def _same_recipe(before: Any, now: Any) -> bool:
    """Return whether two data sets differ in their samples alone: equal recipes before the mark, if both have one."""
    recipe, mark, _ = str(now).partition(RECIPE_MARK)
    return bool(mark) and (RECIPE_MARK not in str(before) or str(before).startswith(recipe + mark))


def check_weights(state: Mapping[str, Any], own: Mapping[str, Any], parameters: Sequence[Tensor], name: str) -> None:
    """Check that a state's numbers fit this adapter.

    Args:
        state: A state that :func:`check_parts` accepts.
        own: The state of the trainer that will take it.
        parameters: The trainer's parameters, before their first step.
        name: The trainer's optimizer.

    Raises:
        CheckpointError: Tensors are missing, have another shape or type, or have NaN or infinite values.
    """
    weights = list(own["network"].values())
    problem = next(
        _problems(
            ("the weights", state["network"], own["network"]),
            ("the moving average", _numbered(state["average"]), _numbered(own["average"])),
        ),
        None,
    )
    problem = problem or _of_memory(state["optimiser"], weights, parameters, name)
    if problem is None and own["scaler"]:
        problem = _of_scaler(state["scaler"])
    if problem is not None:
        raise _no_state(f"a state in which {problem}")


def _problems(*pairs: tuple[str, Mapping[Any, Any], Mapping[Any, Tensor]]) -> Iterator[str]:
    for what, found, expected in pairs:
        if found.keys() != expected.keys():
            yield f"{what} are those of another adapter"
        else:
            for name, tensor in expected.items():
                fault = _fault(found[name], tensor)
                if fault:
                    yield f"{what} {fault} at {name}"


def _fault(found: Any, expected: Tensor) -> str | None:
    if not isinstance(found, Tensor) or found.layout != torch.strided or found.dtype != expected.dtype:
        return f"are no {str(expected.dtype).removeprefix('torch.')} numbers"
    if found.shape != expected.shape:
        return f"have the shape {tuple(found.shape)} in the place of {tuple(expected.shape)}"
    return None if torch.isfinite(found).all() else "are NaN or infinite"


def _of_memory(
    found: Mapping[str, Any], weights: Sequence[Tensor], parameters: Sequence[Tensor], name: str
) -> str | None:
    if name == OPTIMIZERS[0].name:
        return _of_adamw(found.get("state"), weights)
    kind = optimizer_named(name)
    return next(problems_of_memory(found, kind, rehearsed_state(kind, parameters)), None)


def _of_adamw(found: Any, weights: Sequence[Tensor]) -> str | None:
    if not isinstance(found, Mapping) or (found and found.keys() != set(range(len(weights)))):
        return "the optimiser's memory is that of another adapter"
    for number, one in found.items():
        weight = weights[number]
        if not isinstance(one, Mapping) or one.keys() != {"step", *MOMENTS}:
            return f"the optimiser's memory has other parts than {', '.join(MOMENTS)} at {number}"
        expected = {"step": torch.zeros((), dtype=torch.float32), **dict.fromkeys(MOMENTS, weight)}
        fault = next(_problems(("the optimiser's memory", one, expected)), None)
        if fault or min(float(one["step"]), float(one[MOMENTS[1]].min())) < 0:
            return fault or f"the optimiser's memory is below 0 at {number}"
    return None


def _of_scaler(found: Mapping[str, Any]) -> str | None:
    scale, tracker = found.get(SCALE), found.get(TRACKER)
    if type(scale) is float and 0 < scale < math.inf and type(tracker) is int and tracker >= 0:
        return None
    return "the scale of the loss is missing or no number above 0"


def _numbered(tensors: Sequence[Any]) -> dict[int, Any]:
    return dict(enumerate(tensors))


def _no_state(found: str) -> CheckpointError:
    return CheckpointError(
        STATE_FILE,
        found,
        "the state of a run, as training writes it",
        RESTORE,
        says="The run's checkpoint is damaged, or belongs to another adapter.",
    )
