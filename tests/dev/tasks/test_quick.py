"""The rule of the quick selection."""

from __future__ import annotations

import types

import pytest

from ... import quick


class Item(types.SimpleNamespace):
    """As much of a test as the rule looks at."""

    __hash__ = object.__hash__


def item(nodeid: str, *fixtures: str, slow: bool = False) -> Item:
    found = {"slow": pytest.mark.slow} if slow else {}
    path = quick.TESTS / nodeid.split("::", 1)[0]
    return Item(nodeid=nodeid, path=path, fixturenames=fixtures, get_closest_marker=found.get)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".", True),
        ("test_architecture.py", True),
        ("common/test_files.py", True),
        ("training", True),
        ("host/test_nodes.py", True),
        ("dev", False),
        ("dev/tasks/test_quick.py", False),
        ("browser/test_modes.py", False),
        ("attacks", False),
        ("server/test_long_session.py", False),
    ],
)
def test_the_folders_of_published_packages_and_the_files_beside_them_belong(path, expected):
    assert quick.belongs(quick.TESTS / path) is expected


def test_slow_tests_those_with_a_server_and_those_of_other_folders_are_left_out():
    plain, slow = item("host/test_nodes.py::one"), item("host/test_nodes.py::two", slow=True)
    served = item("host/test_nodes.py::three", "tmp_path", "comfy_server")
    foreign = item("attacks/test_values.py::one")
    assert quick.chosen([plain, slow, served, foreign]) == {plain}


@pytest.mark.parametrize(("count", "kept"), [(1, "0"), (2, "01"), (3, "02"), (9, "08")])
def test_of_a_test_s_cases_the_first_and_the_last_are_kept(count, kept):
    cases = [item(f"host/test_nodes.py::one[{number}]") for number in range(count)]
    other = item("host/test_nodes.py::other[0]")
    found = quick.chosen([*cases, other])
    assert other in found
    assert [each for each in cases if each in found] == [cases[int(number)] for number in kept]


def test_the_fixtures_that_start_a_server_exist(request):
    for name in quick.PROCESSES:
        assert request._fixturemanager.getfixturedefs(name, request.node)
