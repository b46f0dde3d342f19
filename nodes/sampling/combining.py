"""Set how the adapters of a MODEL combine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...adapter_models.applied import AppliedAdapter
from ...adapter_models.combine import METHODS, Combination, Method, T2IFuser
from ...adapter_models.conditions import NAME
from ...adapter_models.errors import AdapterError
from ...adapter_models.stack import AdapterStack
from ...common.checks import check_choice
from .. import host
from . import attach
from .style_prompts import styles_of

COMBINE_NODE = "Combine T2I-Adapters"


def combine_adapters(model: Any, method: Method, fuser: T2IFuser | None, positive: list[Any] | None) -> Any:
    """Return a clone of a MODEL whose adapters combine in another way.

    Args:
        model: A MODEL with adapters.
        method: How they combine.
        fuser: The fuser; needed and used by the method coadapter only.
        positive: The prompt whose style takes part in the fuser, or None.

    Raises:
        AdapterError: The MODEL has no adapters, or they can't be combined this way.
    """
    stack = attach.stack_of(model)
    if not stack.uses:
        raise AdapterError(
            f"{COMBINE_NODE}, model",
            "a MODEL without adapters",
            "one with",
            "Put Apply T2I-Adapter before this node.",
            says="This model has no T2I-Adapter to combine.",
        )
    check_choice(f"{COMBINE_NODE}, method", method, METHODS, error=AdapterError)
    fuses = method == "coadapter"
    style = _one_style(positive) if fuses and positive is not None else None
    combination = Combination(method, fuser if fuses else None, style)
    patched = attach.with_stack(model, AdapterStack(stack.uses, combination))
    if fuses:
        _tell_names(stack.uses)
    return patched


def _tell_names(uses: Sequence[AppliedAdapter]) -> None:
    """Show the conditions that only file names tell."""
    by_name = [use.adapter.info for use in uses if use.adapter.info.condition_from == NAME]
    if by_name:
        pairs = ", ".join(f"{info.name}: {info.condition.name}" for info in by_name if info.condition is not None)
        host.tell(f"Conditions taken from the files' names: {pairs}.", host.running_node() or None)


def _one_style(positive: list[Any]) -> Tensor | None:
    styles = styles_of(positive)
    if len(styles) > 1:
        raise AdapterError(
            f"{COMBINE_NODE}, positive",
            f"{len(styles)} styles",
            "one, because the fuser has one number for styles",
            "Apply one style adapter to all prompts; several reference pictures may come as a batch.",
            says="The fuser takes one style, and this prompt has several.",
        )
    return styles[0] if styles else None
