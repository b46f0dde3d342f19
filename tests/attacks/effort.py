"""How many inputs the attacks try: few in the test command, many in the session `fuzz`."""

from __future__ import annotations

import os

# Minutes that the longest attack may take.
MINUTES = float(os.environ.get("T2I_ATTACKS_LONG") or 0)
LONG = MINUTES > 0


def count(quick: int, long: int) -> int:
    """Return the number of tries."""
    return long if LONG else quick


def spread(length: int, quick: int, long: int) -> list[int]:
    """Return this many evenly spaced indices below a length; all indices if the length is small."""
    places = min(count(quick, long), length)
    return [number * length // places for number in range(places)]
