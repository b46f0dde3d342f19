"""Checks of values that ComfyUI does not make where a link brings them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .errors import AdapterError


def check_numbers(where: str, *numbers: float) -> None:
    """Refuse NaN and infinity.

    Args:
        where: What they are, for the message.
        numbers: Strengths, factors or percents.

    Raises:
        AdapterError: One of them is not finite.
    """
    for number in numbers:
        if not math.isfinite(number):
            raise AdapterError(where, f"{number}", "a number", "Check the node that makes it.")


def check_choice(where: str, value: object, known: Iterable[str]) -> None:
    """Refuse a value that is none of those known.

    Args:
        where: What it is, for the message.
        value: What was chosen.
        known: What may be chosen.

    Raises:
        AdapterError: It is another one.
    """
    names = list(known)
    # Other types are refused before they are compared: tensors do not say yes or no.
    if not isinstance(value, str) or value not in names:
        raise AdapterError(where, f"'{value}'", f"one of {', '.join(names)}", "Choose one of them.")
