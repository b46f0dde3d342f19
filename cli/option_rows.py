"""Read a command's options into a dataclass, each of whose fields is annotated with an :class:`Option`."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """What is known of an option besides its name, type and default, which its field has.

    Attributes:
        group: Heading in the help.
        help: What the option does.
        choices: Allowed values; empty if any value will do.
        metavar: Placeholder in the help.
        least: Smallest allowed number.
        path: Whether a text may be the path of a file.
    """

    group: str
    help: str
    choices: tuple[Any, ...] = ()
    metavar: str | None = None
    least: float | None = None
    path: bool = False


def flag(name: str) -> str:
    """Return how a field is written on the command line."""
    return f"--{name.replace('_', '-')}"


def add_options(parser: argparse.ArgumentParser, described: type[Any]) -> None:
    """Add a dataclass's options to a parser, under their headings, required ones first, then as the fields come."""
    hints = typing.get_type_hints(described, include_extras=True)
    groups: dict[str, Any] = {}
    for field in sorted(dataclasses.fields(described), key=lambda field: field.default is not dataclasses.MISSING):
        hint, option = typing.get_args(hints[field.name])
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        groups[option.group].add_argument(flag(field.name), help=option.help, **_arguments(field, hint, option))


def _arguments(field: dataclasses.Field[Any], hint: Any, option: Option) -> dict[str, Any]:
    """Return argparse's arguments for a field."""
    if hint is bool:
        return {"action": "store_true"}
    required = field.default is dataclasses.MISSING
    # Of tuple[X, ...] and X | None, the type of one value.
    type_of_one = next(iter(typing.get_args(hint)), hint)
    return {
        "type": type_of_one if option.least is None else _at_least(type_of_one, option.least),
        "metavar": option.metavar,
        "choices": option.choices or None,
        "nargs": "+" if typing.get_origin(hint) is tuple else None,
        "required": required,
        "default": None if required else field.default,
    }


def _at_least(type_of_one: Any, least: float) -> Any:
    def bounded(text: str) -> Any:
        value = type_of_one(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is below {least:g}")
        return value

    # argparse quotes it: "invalid int value: 'a'".
    bounded.__name__ = type_of_one.__name__
    return bounded
