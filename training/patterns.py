"""Patterns that name many tar shards; imports nothing slow, so that the command can check paths before torch loads."""

from __future__ import annotations

import itertools
import re

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def expand(pattern: str) -> list[str]:
    """Expand the ranges of numbers in a pattern.

    Args:
        pattern: Such as ``shards/{000..123}.tar``; numbers are padded to the width of the first.

    Returns:
        The names, in order; only the pattern itself if it has no range.
    """
    pieces = RANGE.split(pattern)
    texts, firsts, lasts = pieces[::3], pieces[1::3], pieces[2::3]
    ranges = [
        [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]
        for first, last in zip(firsts, lasts, strict=True)
    ]
    return [
        "".join(itertools.chain(*zip(texts, (*numbers, ""), strict=True))) for numbers in itertools.product(*ranges)
    ]
