"""Lines for the user: errors name the command's options instead of parameters, and one process speaks for all."""

from __future__ import annotations

import logging
import re

from ..common.errors import PackError
from ..training.distributed import Processes
from .options import FLAGS

_log = logging.getLogger(__name__)
# Names with an underscore; other names of parameters, such as steps, are also words. Quoted text is the user's.
_QUOTED_OR_NAME = re.compile(r"'.*?'|\b[a-z]+(?:_[a-z]+)+\b(?!\.?\w|[/\\])", re.DOTALL)
# The command uses the machinery of these nodes, whose errors name them and their inputs.
_NODE = re.compile(r"^(Train|Create) T2I-Adapter, ")
_FLAGS = {**FLAGS, "run_name": FLAGS["name"], "model": FLAGS["checkpoint"]}


def in_options(error: PackError) -> str:
    """Return an error's message with the command's options in place of parameters and node inputs.

    Args:
        error: The error; ``where`` is a parameter's name, perhaps followed by a comma and more.

    Returns:
        The message, in the form of a PackError's.
    """
    name, comma, more = _NODE.sub("", error.where).partition(",")
    where = _FLAGS.get(name, _translated(name)) + comma + _translated(more)
    got, expected, fix, says = map(_translated, (error.got, error.expected, error.fix, error.says))
    return str(PackError(where, got, expected, fix, says=says))


def _translated(text: str) -> str:
    return _QUOTED_OR_NAME.sub(lambda match: _FLAGS.get(match[0], match[0]), text)


def tell_once(processes: Processes, text: str) -> None:
    """Log a line for the user once, not in each process; an empty one is left out."""
    if processes.first and text:
        _log.info("%s", text)
