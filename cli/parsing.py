"""Read a command line into a command's options, with what its file of settings says."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .option_rows import add_options
from .settings_file import SETTINGS, with_settings

_Options = TypeVar("_Options")


@dataclass(frozen=True)
class Command:
    """What a command's help says besides its options.

    Attributes:
        name: How it is called.
        description: What it does.
        example: Text below the options.
        settings: A file of settings that it writes, and where.
    """

    name: str
    description: str
    example: str
    settings: str


def read_options(described: type[_Options], command: Command, arguments: Sequence[str]) -> _Options:
    """Read the command line.

    Args:
        described: The dataclass of the options, see :mod:`.option_rows`.
        command: The command.
        arguments: The words after its name.

    Returns:
        The options; ends the process with a message if they are wrong, and after ``--help``.

    Raises:
        PackError: The file of settings can't be read.
    """
    parser = argparse.ArgumentParser(
        prog=command.name,
        description=command.description,
        epilog=command.example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        SETTINGS,
        metavar="FILE",
        help=f"TOML file with options under these names, such as {command.settings}; options that are also "
        "given here override it",
    )
    add_options(parser, described)
    values: dict[str, Any] = vars(parser.parse_args(with_settings(arguments)))
    del values["settings"]
    _check_model_options(parser, values)
    several = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return described(**{**values, **several})


def _check_model_options(parser: argparse.ArgumentParser, values: Mapping[str, Any]) -> None:
    """End the process with a message if the options don't name one whole model."""
    if (values["checkpoint"] is None) == (values["unet"] is None):
        parser.error("give either --checkpoint, or --unet with --clip and --vae")
    if values["unet"] is None and values["clip"]:
        parser.error("--clip belongs to --unet; a checkpoint has its own text encoder")
    if values["unet"] is not None and not (values["clip"] and values["vae"]):
        parser.error("--unet needs --clip and --vae")
