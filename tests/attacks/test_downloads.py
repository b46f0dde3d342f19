"""Servers that stall, cut, drip, lie or never end: the download gives the right file, or an error and no file."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from t2i_adapter_pack.annotators.errors import AnnotatorError

from ..host.file_server import sha256
from ..host.test_downloads import CancelledError, fetch, left, published
from . import effort

pytestmark = pytest.mark.host
CONTENT = bytes(range(256)) * 40
# Sends any bytes, given the connection and the offset that the client requested.
Act = Callable[[socket.socket, int], None]


class Raw:
    """A server that sends raw bytes. `content` and `url` are as in a Site."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.content = CONTENT
        self.asked = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    wanted = re.search(rb"Range: bytes=(\d+)-", connection.recv(65536))
                    self.asked += 1
                    self.act(connection, int(wanted[1]) if wanted else 0)
                except OSError:
                    pass  # the client has hung up


@contextmanager
def raw(act: Act) -> Iterator[Raw]:
    server = Raw(act)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def row(server: Raw, **changes: Any) -> Any:
    values = {"size": len(CONTENT), "sha256": sha256(CONTENT), "exact": False, **changes}
    return published(server, **values)


def answer(*lines: str, body: bytes = CONTENT, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close", "", ""]).encode() + body


def rest(begin: int) -> bytes:
    """Return what an honest server sends."""
    if not begin:
        return answer(f"Content-Length: {len(CONTENT)}")
    span = f"Content-Range: bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}"
    body = CONTENT[begin:]
    return answer(span, f"Content-Length: {len(body)}", body=body, status="206 Partial Content")


def length(number: object) -> str:
    return f"Content-Length: {number}"


LIES = {
    "longer": (answer(length(len(CONTENT) + 1000)), "broke off after"),
    "shorter": (answer(length(1000)), "it was deleted"),
    "length of text": (answer(length("x"), body=CONTENT[1:]), "it was deleted|broke off"),
    "length below 0": (answer(length(-5), body=CONTENT[1:]), "it was deleted|broke off"),
    "far too long": (answer(length(10**15)), "where about 10240 were expected"),
    "another hash": (answer(length(len(CONTENT)), 'X-Linked-Etag: "' + "0" * 64 + '"'), "has a file with sha256 000"),
    "other bytes": (answer(length(len(CONTENT)), body=CONTENT[::-1]), "it was deleted"),
    "nothing": (answer(length(0), body=b""), "it was deleted"),
    "no content": (answer(body=b"", status="204 No Content"), "it was deleted"),
    "compressed": (answer(length(3), "Content-Encoding: gzip", body=b"\x1f\x8b\x08"), "it was deleted"),
    "a middle": (
        answer("Content-Range: bytes 5-9/10240", body=b"12345", status="206 Partial Content"),
        "began in the middle",
    ),
    "a range of text": (answer("Content-Range: bytes a-b/c", status="206 Partial Content", body=b""), "deleted|broke"),
    "cut pieces": (answer("Transfer-Encoding: chunked", body=b"100\r\n" + CONTENT[:3]), "deleted|broke off"),
    "pieces of text": (answer("Transfer-Encoding: chunked", body=b"xyz\r\nabc\r\n"), "deleted|broke off"),
    "rubbish": (b"\0\xff\r\n" * 100, "broke off"),
    "no answer": (b"", "broke off|could not be reached"),
    "endless line": (b"HTTP/1.1 200 " + b"x" * 100_000, "broke off"),
    "endless headers": (answer(*(f"X-{number}: a" for number in range(1000))), "broke off"),
    "a redirect to itself": (answer("Location: /net.pth", status="302 Found", body=b""), "answered 302"),
    "a redirect to nowhere": (
        answer("Location: ", status="302 Found", body=b""),
        "answered 302|is not an address|not https",
    ),
    "a redirect to http": (answer("Location: http://127.0.0.2:9/a", status="302 Found", body=b""), "is not https"),
    "a redirect to a port of text": (
        answer("Location: https://a:b/c", status="307 X", body=b""),
        "is not an address|broke",
    ),
    "a redirect to half an address": (
        answer("Location: https://[a/c", status="302 X", body=b""),
        "is not an address|broke",
    ),
}


@pytest.mark.parametrize(("sent", "told"), LIES.values(), ids=LIES)
def test_a_false_response_is_reported_and_leaves_no_file(tmp_path, sent, told):
    with raw(lambda connection, _: connection.sendall(sent)) as server:
        with pytest.raises(AnnotatorError, match=told):
            fetch(row(server), tmp_path, timeout=1.0)
        assert "net.pth" not in left(tmp_path)
        # Whatever partial file the response has left, the next download is right.
        server.act = lambda connection, begin: connection.sendall(rest(begin))
        assert fetch(row(server), tmp_path).read_bytes() == CONTENT
        assert left(tmp_path) == ["net.pth"]


@pytest.mark.parametrize("exact", [True, False])
def test_an_endless_body_is_refused(tmp_path, exact):
    sent = []

    def endless(connection: socket.socket, _: int) -> None:
        connection.sendall(answer(body=b""))
        while len(sent) < 2000:
            connection.sendall(bytes(65536))
            sent.append(65536)

    with raw(endless) as server, pytest.raises(AnnotatorError, match="sends more than the"):
        fetch(row(server, exact=exact), tmp_path)
    assert len(sent) < 2000
    assert left(tmp_path) == []


def test_a_download_from_a_slow_server_can_be_cancelled_at_once(tmp_path):
    def drip(connection: socket.socket, _: int) -> None:
        connection.sendall(answer(length(len(CONTENT)), body=b""))
        for byte in CONTENT[:1000]:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    begun = time.monotonic()

    def cancel(done: int, _: int) -> None:
        if done >= 3:
            raise CancelledError

    with raw(drip) as server, pytest.raises(CancelledError):
        fetch(row(server), tmp_path, cancel)
    assert time.monotonic() - begun < 5
    assert left(tmp_path) == ["net.pth.part", "net.pth.part.sha256"]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("ending", ["cut", "stall"])
def test_a_download_cut_or_stalled_at_any_byte_completes(tmp_path, ending, exact):
    whole = rest(0)
    places = effort.spread(len(whole), 25 if ending == "cut" else 6, 2000)
    if ending == "cut":  # every byte of the headers: a response that ends there looks like an empty file
        places = sorted({*places, *range(len(whole) - len(CONTENT))})
    for number, place in enumerate(places):
        folder = tmp_path / str(number)
        first = True

        def act(connection: socket.socket, begin: int, place: int = place) -> None:
            nonlocal first
            if not first:
                connection.sendall(rest(begin))
                return
            first = False
            connection.sendall(whole[:place])
            if ending == "stall":
                time.sleep(0.15)

        with raw(act) as server:
            path = fetch(row(server, exact=exact), folder, timeout=0.1 if ending == "stall" else 5.0)
        assert path.read_bytes() == CONTENT
        assert left(folder) == ["net.pth"]


def test_a_file_or_loop_in_the_folders_place_is_reported(tmp_path: Path):
    for name, make in {"file": lambda path: path.write_text("a"), "loop": lambda path: path.symlink_to(path)}.items():
        make(tmp_path / name)
        with raw(lambda connection, begin: connection.sendall(rest(begin))) as server:
            with pytest.raises(AnnotatorError, match=r"a disk error|may not be written"):
                fetch(row(server), tmp_path / name / "annotators")
            assert server.asked == 0
