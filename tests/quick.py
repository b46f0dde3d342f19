"""Choose the quick selection: `python3 run.py tests -- --quick`.

A rule chooses, so that a new test needs no entry anywhere. Left out are

- folders that mirror no package of the pack, and their files are not even imported: the workshop, the page, attacks;
- tests marked `slow`, and tests that start a server or another process through a fixture of PROCESSES;
- all but CASES of a test's parametrised cases: the first and the last.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

TESTS = Path(__file__).absolute().parent
# The tests of nodes/: they run inside ComfyUI, their host.
NODES = "host"
# Fixtures that start ComfyUI's server.
PROCESSES = frozenset({"comfy_server"})
CASES = 2
RULE = f"no slow tests, servers or browsers, none of the workshop, {CASES} cases of a parametrised test at most"
REASON = f"the quick selection (--quick): {RULE}. Run all before you share a change."


def belongs(path: Path) -> bool:
    """Tell whether a file or folder of tests may hold quick ones."""
    folder = next(iter(path.relative_to(TESTS).parts), "")
    package = TESTS.parent / ("nodes" if folder == NODES else folder)
    unpublished = (TESTS.parent / ".comfyignore").read_text(encoding="utf-8").split()
    ships = (package / "__init__.py").is_file() and f"/{folder}/" not in unpublished
    return ships or (TESTS / folder).is_file() or not folder


def chosen(items: list[pytest.Item]) -> set[pytest.Item]:
    """Return the quick tests."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        # Files that are named on the command line are imported all the same.
        if belongs(item.path) and item.get_closest_marker("slow") is None and PROCESSES.isdisjoint(fixtures):
            cases[item.nodeid.split("[", 1)[0]].append(item)
    return {item for found in cases.values() for item in spread(found)}


def spread(cases: list[pytest.Item]) -> list[pytest.Item]:
    """Return at most CASES of a test's cases, spread from the first to the last."""
    if len(cases) <= CASES:
        return cases
    return [cases[number * (len(cases) - 1) // (CASES - 1)] for number in range(CASES)]
