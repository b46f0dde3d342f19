"""No test leaves this machine: neither this process nor a child, and whoever swallows the error is found out."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# An address that is nobody's (RFC 5737) and a name that can't exist (RFC 6761): harmless if the guard were gone.
NOBODY, NOWHERE = "192.0.2.1", "example.invalid"
CONNECT = f"import socket; socket.create_connection(({NOBODY!r}, 80), timeout=1)"


def datagram() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as each:
        each.sendto(b"x", (NOBODY, 9))


ATTEMPTS: dict[str, Callable[[], object]] = {
    "connect": lambda: socket.create_connection((NOBODY, 80), timeout=1),
    "datagram": datagram,
    "look-up": lambda: socket.getaddrinfo(NOWHERE, 80),
    "old look-up": lambda: socket.gethostbyname(NOWHERE),
}


@pytest.fixture
def noted(refused_connections) -> Iterator[Callable[[], str]]:
    """What this test had refused; taken out of the file again, for it is meant."""
    before = refused_connections.read_text(encoding="utf-8")

    def since() -> str:
        return refused_connections.read_text(encoding="utf-8")[len(before) :]

    yield since
    refused_connections.write_text(before, encoding="utf-8")


@pytest.mark.parametrize("name", ATTEMPTS)
def test_what_would_leave_the_machine_is_refused_and_noted(name, noted):
    with pytest.raises(ConnectionRefusedError, match="tests must not use the network"):
        ATTEMPTS[name]()
    assert noted().count("\n") == 1


def test_a_swallowed_error_is_noted_too(noted):
    with contextlib.suppress(OSError):
        ATTEMPTS["connect"]()
    assert NOBODY in noted()


def test_a_child_is_refused(noted):
    answer = subprocess.run([sys.executable, "-c", CONNECT], capture_output=True, text=True, check=False)
    assert "ConnectionRefusedError" in answer.stderr
    assert NOBODY in noted()


def test_a_test_that_tried_fails(refused_connections, tmp_path):
    """In a pytest of its own, with the same fixtures."""
    (tmp_path / "test_one.py").write_text(
        "import contextlib, socket\n"
        "def test_swallows():\n"
        f"    with contextlib.suppress(OSError): socket.create_connection(({NOBODY!r}, 80), timeout=1)\n"
        "def test_stays():\n"
        "    pass\n"
    )
    (tmp_path / "conftest.py").write_text(
        "import importlib, sys, types\n"
        "suite = sys.modules['suite'] = types.ModuleType('suite')\n"
        f"suite.__path__ = [{str(Path(__file__).parent)!r}]\n"
        "suite = importlib.import_module('suite.conftest')\n"
        "refused_connections, stays_on_this_machine = suite.refused_connections, suite.stays_on_this_machine\n"
    )
    pytest_script = Path(sys.executable).with_name("pytest.exe" if os.name == "nt" else "pytest")
    command = [str(pytest_script), "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed, 1 error" in answer.stdout
    assert "ERROR test_one.py::test_swallows" in answer.stdout


def test_this_machine_may_be_reached(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    if sys.platform != "win32":
        path = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(path)
            server.listen()
            client.connect(path)
