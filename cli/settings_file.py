"""Options in a TOML file, under the names that they have on the command line; imports neither torch nor ComfyUI."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.errors import PackError
from ..training.patterns import expand
from .option_rows import Option, flag

# The option that names the file, and the file of a run that repeats it.
SETTINGS = "--settings"
WRITTEN = "settings.toml"
# Standard library from this Python on; before it the same code is a package.
TOMLLIB_SINCE = (3, 11)
_TOML_PACKAGE = "tomli"
_DELETE = "\x7f"


def with_settings(arguments: Sequence[str]) -> list[str]:
    """Put the options of the file that the arguments name before the arguments, which override them.

    Args:
        arguments: Words of a command line.

    Returns:
        The words, without the file's option.

    Raises:
        PackError: The file does not exist or is not TOML, or this Python can't read TOML.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(SETTINGS, type=Path)
    try:
        found, rest = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError:  # without a file: the command's own parser reports it
        return list(arguments)
    return rest if found.settings is None else [*_words(_read(found.settings.expanduser())), *rest]


def _read(path: Path) -> dict[str, Any]:
    try:
        toml = importlib.import_module("tomllib" if sys.version_info >= TOMLLIB_SINCE else _TOML_PACKAGE)
    except ImportError as error:
        raise PackError(
            SETTINGS,
            f"Python {sys.version_info.major}.{sys.version_info.minor} without the package {_TOML_PACKAGE}",
            "a reader of TOML",
            f"Run `pip install {_TOML_PACKAGE}`.",
            says=f"Reading a settings file needs Python 3.11, or the package {_TOML_PACKAGE}.",
        ) from error
    try:
        values: dict[str, Any] = toml.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PackError(
            f"{SETTINGS}, {path}",
            str(error.strerror or error),
            "a file of settings",
            "Correct the path.",
            says=f"The settings file {path} can't be read.",
        ) from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are subclasses
        raise _wrong(path, str(error)) from error
    for name, value in values.items():
        if isinstance(value, Mapping) or (isinstance(value, list) and not all(_is_plain(one) for one in value)):
            raise _wrong(path, f"a table or a list of tables as {name}")
    return values


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _wrong(path: Path, found: str) -> PackError:
    return PackError(
        f"{SETTINGS}, {path}",
        found,
        "lines such as learning-rate = 1e-5",
        f"Correct the file; {WRITTEN} in a run's folder is an example.",
        says=f"The settings file {path.name} is not a list of options.",
    )


def _words(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values as words of a command line."""
    for name, value in values.items():
        if isinstance(value, list):
            yield flag(name)
            yield from map(str, value)
        elif value is True:
            yield flag(name)
        elif value is not False:
            yield f"{flag(name)}={value}"


def repeating(options: Any) -> str:
    """Return the file that repeats a command.

    Args:
        options: A dataclass whose fields are annotated with :class:`.option_rows.Option`.

    Returns:
        TOML, with a comment for each heading of the help. Options without a value are left out; paths are absolute.
    """
    hints = typing.get_type_hints(type(options), include_extras=True)
    lines: list[str] = []
    heading = ""
    for field in dataclasses.fields(options):
        value, option = getattr(options, field.name), typing.get_args(hints[field.name])[1]
        if value is None or value == ():
            continue
        if option.group != heading:
            heading = option.group
            lines += ["", f"# {heading}"]
        lines.append(f"{field.name.replace('_', '-')} = {_toml(value, option)}")
    return "\n".join([*lines[1:], ""])


def _toml(value: Any, option: Option) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(one, option) for one in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    # JSON's strings are TOML's, except for one character.
    text = _absolute(str(value)) if isinstance(value, Path) or option.path else value
    return json.dumps(text, ensure_ascii=False).replace(_DELETE, "\\u007f")


def _absolute(path: str) -> str:
    """Return an absolute path if there is such a file: other names are those of ComfyUI's models."""
    there = os.path.lexists(Path(expand(path)[0]).expanduser())
    return str(Path(path).expanduser().absolute()) if there else path
