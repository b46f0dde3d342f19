"""How much the attacks try: a little in the test command, a lot in the session `fuzz`."""

from __future__ import annotations

import os

# How many minutes the longest of them may take.
MINUTES = float(os.environ.get("T2I_ATTACKS_LONG") or 0)
LONG = MINUTES > 0


def count(quick: int, long: int) -> int:
    """Return how often to try."""
    return long if LONG else quick


def spread(length: int, quick: int, long: int) -> list[int]:
    """Return that many places in something of a length, from its beginning to before its end; all where it is short."""
    places = min(count(quick, long), length)
    return [number * length // places for number in range(places)]
