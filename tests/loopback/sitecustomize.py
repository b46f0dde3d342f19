"""Refuse what would leave this machine; every Python that the tests start loads this, for PYTHONPATH names this folder.

An audit hook, so that no library gets around it, and it can't be taken out again. What it refuses is also written into
the file that REFUSED names: a library that swallows the error must not hide the attempt.
"""

import os
import pathlib
import socket
import sys

REFUSED = "T2I_REFUSED_CONNECTIONS"
# What the hook looks at, with the place of the address or host among the event's arguments.
EVENTS = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
}
# With what a bind or a look-up of one's own machine is called; all of 127.0.0.0/8 is loopback.
HERE = ("", "localhost", "::1", "0.0.0.0", "::", socket.gethostname())


def outside(address: object) -> str | None:
    """Return the host of an address that lies outside of this machine, or None.

    Args:
        address: (host, port, ...), a host, the path of a Unix socket, or another family's numbers.
    """
    host = address[0] if isinstance(address, tuple) and address else address
    host = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if not isinstance(host, str) or host in HERE or host.startswith(("127.", "::ffff:127.")):
        return None
    return host


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Raise ConnectionRefusedError for what would leave this machine."""
    if event not in EVENTS:
        return
    address = arguments[EVENTS[event]]
    # A Unix socket's path is no tuple, and no host: only look-ups take a bare name.
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg") and not isinstance(address, tuple):
        return
    host = outside(address)
    if host is None:
        return
    message = f"{event}: got {host!r}; expected an address of this machine, because tests must not use the network."
    if os.environ.get(REFUSED):
        with pathlib.Path(os.environ[REFUSED]).open("a", encoding="utf-8") as file:
            file.write(f"{message} By {' '.join(sys.argv)[:200]}\n")
    raise ConnectionRefusedError(message)


sys.addaudithook(refuse)
