"""Does ComfyUI still look as the pack relies on it? The cheap part of the answer, for every start.

The table is in :mod:`.interfaces`; what only a call can tell is in tests/host/test_contract.py.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)
# What a look at something that has changed may end in.
FAILURES = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
GONE = "got nothing; expected it as it was"
ANY_NAME, MORE = "_", "..."


@dataclass(frozen=True)
class Interface:
    """Something of ComfyUI that the pack relies on.

    Attributes:
        path: Module, colon, and the way from there; a name with () is called on the way. Without a colon it is a
            convention, which only a call can test.
        serves: What of ours depends on it, as users know it.
        signature: Parameters that it must have: in this order, where ``_`` is any name; by name behind ``*``; with
            ``...`` others may follow that have no defaults. None for what the pack does not call or stand in for.
        members: Names that it must have.
        optional: Whether it may be missing: older ComfyUI lacks it, or it is private and may move.
    """

    path: str
    serves: str
    signature: str | None = None
    members: str = ""
    optional: bool = False


def warn_of_changes(interfaces: Iterable[Interface]) -> None:
    """Write one line into the log for each interface that has changed. Nothing is refused, and nothing imported."""
    told: set[str] = set()
    for interface in interfaces:
        for name, change in changes_of(interface):
            if name not in told:  # a class that is gone takes the rows of its methods with it
                logger.warning("T2I-Adapter: this ComfyUI has changed %s: %s. %s may not work; look for an update of "
                               "the pack.", name, change, interface.serves)  # fmt: skip
            told.add(name)


def changes_of(interface: Interface) -> list[tuple[str, str]]:
    """Say how an interface differs from what the pack relies on.

    Args:
        interface: A row of the table.

    Returns:
        The name of each thing that differs, with what was got and what was expected. Nothing is said of a module that
        is not imported.
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
    except FAILURES:  # written in C, or no function any more
        return None if callable(function) else f"got no function; expected ({expected})"
    if parameters and parameters[0].name in ("self", "cls"):
        del parameters[0]
    if _fits(parameters, _names(expected)):
        return None
    return f"got ({', '.join(map(_written, parameters))}); expected ({expected})"


def _fits(parameters: list[inspect.Parameter], expected: list[str]) -> bool:
    ordered = expected[: expected.index("*")] if "*" in expected else expected
    named = {name for name in expected[len(ordered) :] if name not in ("*", MORE)}
    ordered = [name for name in ordered if name != MORE]
    by_place = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    kinds = {each.kind for each in parameters}
    if len(by_place) < len(ordered) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        return False
    # Only as many as there are: the rest go into *args.
    if any(name not in (ANY_NAME, each.name) for name, each in zip(ordered, by_place, strict=False)):
        return False
    known = {each.name for each in parameters}
    if not named <= known and inspect.Parameter.VAR_KEYWORD not in kinds:
        return False
    first = {each.name for each in by_place[: len(ordered)]}
    return MORE in expected or all(each.name in first | named or _may_be_left_out(each) for each in parameters)


def _may_be_left_out(parameter: inspect.Parameter) -> bool:
    packed = (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is not parameter.empty or parameter.kind in packed


def _written(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    return f"{stars}{parameter.name}{'' if parameter.default is parameter.empty else '='}"
