"""Let the libraries' errors name the command's options instead of parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..common.errors import PackError
from .options import FLAGS

# Words of a sentence, such as "steps", stay; a name with an underscore can only be a parameter. Quoted text is a value.
_QUOTED_OR_NAME = re.compile(r"'.*?'|\b[a-z]+(?:_[a-z]+)+\b(?![./\\\w])", re.DOTALL)


def in_options(error: PackError, flags: Mapping[str, str] = FLAGS) -> str:
    """Return an error's message with the command's options in place of parameters.

    Args:
        error: The error; its place is a parameter's name, perhaps followed by a comma and more.
        flags: Options by the parameters' names.

    Returns:
        The message, in the form of a PackError's.
    """
    name, comma, more = error.where.partition(",")
    where = flags.get(name, name) + comma + more
    parts = (_QUOTED_OR_NAME.sub(lambda match: flags.get(match[0], match[0]), part) for part in
             (error.got, error.expected, error.fix))  # fmt: skip
    says = _QUOTED_OR_NAME.sub(lambda match: flags.get(match[0], match[0]), error.says)
    return str(PackError(where, *parts, says=says))
