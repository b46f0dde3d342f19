"""A web server on this machine that misbehaves as asked."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Site:
    """What the server sends: `content` at every path, and its faults.

    `cuts` are numbers of bytes after which the next responses break off; `statuses` the codes of the next responses.
    All paths redirect to `redirect`, if it is set. `/to/...` redirects as the hub does: the redirect states hash and
    size, and its target does not. `asked` and `headers` record the requests.
    """

    content: bytes
    ranges: bool = True
    stated: str | None = None
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    stall: float = 0.0
    redirect: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)


class Handler(http.server.BaseHTTPRequestHandler):
    """The handler of one connection."""

    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        site = self.server.site
        site.asked.append((self.path, self.headers.get("Range")))
        site.headers.append(dict(self.headers))
        if site.statuses:
            self.send_error(site.statuses.pop(0))
        elif site.redirect or self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", site.redirect or f"{site.url}/store{self.path[3:]}")
            if site.stated:
                self.send_header("X-Linked-Etag", f'"{site.stated}"')
                self.send_header("X-Linked-Size", str(len(site.content)))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.send_content(site)

    def send_content(self, site: Site) -> None:
        begin, wanted = 0, self.headers.get("Range")
        if site.ranges and wanted:
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
            if begin >= len(site.content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(site.content) - 1}/{len(site.content)}")
        else:
            self.send_response(200)
        if site.stated and not self.path.startswith("/store"):
            self.send_header("X-Linked-Etag", f'"{site.stated}"')
        self.send_header("Content-Length", str(len(site.content) - begin))
        self.end_headers()
        end = min(len(site.content), begin + site.cuts.pop(0)) if site.cuts else len(site.content)
        self.wfile.write(site.content[begin:end])
        self.wfile.flush()
        if site.stall:
            site.released.wait(site.stall)


class Server(http.server.ThreadingHTTPServer):
    """A server for one site; ignores clients that hang up."""

    def __init__(self, site: Site) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.site = site

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Run the server until the block ends."""
    server = Server(site)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        site.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
