"""Checks of numbers and choices that come from outside."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .errors import PackError


def check_finite(where: str, *numbers: float, error: type[PackError]) -> None:
    """Refuse NaN and infinity.

    Args:
        where: Name of the argument, for the message.
        numbers: Strengths, factors or percents.
        error: The class to raise.

    Raises:
        PackError: One of them is not finite.
    """
    for number in numbers:
        if not math.isfinite(number):
            says = "A number is needed here, and this value is NaN or infinite."
            raise error(where, f"{number}", "a number", "Give a finite number.", says=says, topic="number")


def check_choice(where: str, value: object, known: Iterable[str], *, error: type[PackError]) -> None:
    """Refuse a value that is not one of the known choices.

    Args:
        where: Name of the argument, for the message.
        value: The choice.
        known: The possible choices.
        error: The class to raise.

    Raises:
        PackError: The value is another one.
    """
    names = list(known)
    # Check the type before comparing: comparing a tensor gives a tensor, not True or False.
    if not isinstance(value, str) or value not in names:
        says = "This value is not one of the choices."
        raise error(where, f"'{value}'", f"one of {', '.join(names)}", "Choose one of them.", says=says)
