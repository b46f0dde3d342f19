"""What a launcher such as ``accelerate launch`` decides for the command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..training.distributed import COUNTS
from ..training.errors import TrainingError
from ..training.settings import PRECISIONS
from .options import Options

# Variable set by every `accelerate launch`; "no" is also its default.
MIXED_PRECISION, NO_MIXING = "ACCELERATE_MIXED_PRECISION", "no"


def is_launched(environ: Mapping[str, str]) -> bool:
    """Return whether a launcher has started this process."""
    return any(name in environ for name in (MIXED_PRECISION, *COUNTS))


def adopt_precision(options: Options, environ: Mapping[str, str]) -> tuple[Options, str]:
    """Take the precision that the launcher asks for, unless the user has chosen one for the command.

    Args:
        options: The user's choices.
        environ: Environment variables.

    Returns:
        The options, and a line for the user; empty if there is nothing to say.

    Raises:
        TrainingError: The launcher asks for a precision that training does not have.
    """
    asked = environ.get(MIXED_PRECISION, NO_MIXING)
    if asked in (NO_MIXING, options.precision):
        return options, ""
    if options.precision is not None:
        return options, f"accelerate asks for {asked}; --precision {options.precision} overrides it."
    if asked not in [row.name for row in PRECISIONS]:
        raise TrainingError(
            "accelerate launch --mixed_precision",
            asked,
            ", ".join([NO_MIXING, *(row.name for row in PRECISIONS if row.autocast is not None)]),
            "Choose one of them, or give --precision.",
            says=f"Adapters can't be trained in {asked}.",
        )
    return replace(options, precision=asked), f"Precision: {asked}, as accelerate asks."
