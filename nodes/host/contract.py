"""Check at every start that ComfyUI's interfaces are still as the pack needs them.

The table is in :mod:`.interfaces`. Behaviour that only a call can check is tested in tests/host/test_contract.py.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_logger = logging.getLogger(__name__)
# What inspecting a changed interface may raise.
FAILURES = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
GONE = "got nothing; expected it as it was"
ANY_NAME, _MORE = "_", "..."


@dataclass(frozen=True)
class Interface:
    """An interface of ComfyUI that the pack relies on.

    Attributes:
        path: ``module:attribute.path``; a name with () is called. Without a colon it is a convention, which only a
            call can test.
        serves: The feature that depends on it, as users know it.
        signature: Required parameters, in order; ``_`` matches any name, names after ``*`` match by name, and ``...``
            allows further parameters without defaults. None if the pack neither calls nor replaces it.
        members: Attributes that it must have.
        optional: Whether it may be missing, because older ComfyUI lacks it or it is private and may move.
    """

    path: str
    serves: str
    signature: str | None = None
    members: str = ""
    optional: bool = False


def warn_of_changes(interfaces: Iterable[Interface]) -> None:
    """Log one line for each interface that has changed. Disables nothing and imports nothing."""
    told: set[str] = set()
    for interface in interfaces:
        for name, change in changes_of(interface):
            if name not in told:  # a missing class also fails the rows of its methods
                _logger.warning("T2I-Adapter: this ComfyUI has changed %s: %s. %s may not work; look for an update of "
                               "the pack.", name, change, interface.serves)  # fmt: skip
            told.add(name)


def changes_of(interface: Interface) -> list[tuple[str, str]]:
    """Return how an interface differs from what the pack relies on.

    Args:
        interface: A row of the table.

    Returns:
        (name, difference) of everything that differs; empty if the module is not imported.
    """
    module, colon, way = interface.path.partition(":")
    if not colon or module not in sys.modules:
        return []
    thing, name = sys.modules[module], module
    for step in filter(None, way.split(".")):
        bare = step.removesuffix("()")
        name = f"{name}.{bare}"
        try:
            thing = getattr(thing, bare)
            thing = thing() if bare != step else thing
        except FAILURES as error:
            return [] if interface.optional else [(name, GONE if isinstance(error, AttributeError) else _broken(error))]
    missing = [f"{name}.{member}" for member in _names(interface.members) if not hasattr(thing, member)]
    changed = None if interface.signature is None else _changed_signature(thing, interface.signature)
    return [(each, GONE) for each in missing] + ([(name, changed)] if changed else [])


def _broken(error: Exception) -> str:
    return f"got {type(error).__name__}: {error}; expected one without arguments"


def _names(text: str) -> list[str]:
    return [name for name in text.replace(" ", "").split(",") if name]


def _changed_signature(function: Any, expected: str) -> str | None:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except FAILURES:  # written in C, or no longer a function
        return None if callable(function) else f"got no function; expected ({expected})"
    if parameters and parameters[0].name in ("self", "cls"):
        del parameters[0]
    if _fits(parameters, _names(expected)):
        return None
    return f"got ({', '.join(map(_written, parameters))}); expected ({expected})"


def _fits(parameters: list[inspect.Parameter], expected: list[str]) -> bool:
    ordered = expected[: expected.index("*")] if "*" in expected else expected
    named = {name for name in expected[len(ordered) :] if name not in ("*", _MORE)}
    ordered = [name for name in ordered if name != _MORE]
    by_place = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    passed_by = {each.kind for each in parameters}
    if len(by_place) < len(ordered) and inspect.Parameter.VAR_POSITIONAL not in passed_by:
        return False
    # Compare only the declared parameters; *args takes the rest.
    if any(name not in (ANY_NAME, each.name) for name, each in zip(ordered, by_place, strict=False)):
        return False
    known = {each.name for each in parameters}
    if not named <= known and inspect.Parameter.VAR_KEYWORD not in passed_by:
        return False
    first = {each.name for each in by_place[: len(ordered)]}
    return _MORE in expected or all(each.name in first | named or _may_be_left_out(each) for each in parameters)


def _may_be_left_out(parameter: inspect.Parameter) -> bool:
    packed = (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is not parameter.empty or parameter.kind in packed


def _written(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    return f"{stars}{parameter.name}{'' if parameter.default is parameter.empty else '='}"
