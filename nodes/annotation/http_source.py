"""Open a published address over HTTP, read what the server states about the file, and stream its bytes."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any

_READ_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


class AddressUnusableError(Exception):
    """The address cannot serve the file; another attempt would not help. The text says why."""


class ConnectionCutError(Exception):
    """The connection failed; another attempt may succeed. The text says how."""


class RedirectRecorder(urllib.request.HTTPRedirectHandler):
    """Follow redirects and record their headers: the hub states size and hash there, its file store does not."""

    def __init__(self) -> None:
        self.headers: list[Message] = []

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request to follow, or raise AddressUnusableError if its address is insecure."""
        source, target = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        # Plain http can be tampered with in transit. It is allowed only for a mirror that the user names.
        if target.scheme != "https" and (target.scheme, target.netloc) != (source.scheme, source.netloc):
            fp.close()
            raise AddressUnusableError(f"redirects to {newurl}, which is not https")
        self.headers.append(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass(frozen=True)
class HttpSource:
    """An open response.

    Attributes:
        response: The response; a context manager that closes the connection.
        status: HTTP status code.
        begin: Offset of the first byte that the server sends.
        total: Size of the complete file in bytes, if the server states it.
        sha256: SHA-256 of the complete file, if the server states it.
    """

    response: Any
    status: int
    begin: int
    total: int | None
    sha256: str | None

    def chunks(self, most: int) -> Iterator[bytes]:
        """Yield the bytes as soon as they arrive, so that a user can cancel while a server is slow.

        Args:
            most: Largest size that the complete file may have: a server that states no size could fill the disk.

        Raises:
            AddressUnusableError: The server sends more.
            ConnectionCutError: The connection broke.
        """
        size = self.begin
        try:
            while chunk := bytes(self.response.read1(_READ_BYTES)):
                size += len(chunk)
                if size > most:
                    raise AddressUnusableError(f"sends more than the {most} bytes that the file may have")
                yield chunk
        except (http.client.HTTPException, OSError) as error:  # a network error: the disk is not touched here
            raise ConnectionCutError(f"broke off ({type(error).__name__})") from error


def open_source(address: str, begin: int, timeout: float) -> HttpSource:
    """Request a file.

    Args:
        address: Its http or https address.
        begin: Offset of the first byte wanted; the server may ignore it.
        timeout: Seconds without data after which the connection counts as broken.

    Returns:
        The open response.

    Raises:
        AddressUnusableError: The address is malformed, refused, or redirects to an insecure address.
        ConnectionCutError: The server cannot be reached, is overloaded, or does not speak HTTP.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": "t2i-adapter"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    redirects = RedirectRecorder()
    try:
        request = urllib.request.Request(address, headers=headers)
        response = urllib.request.build_opener(redirects).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and begin:
            return open_source(address, 0, timeout)
        if error.code >= 500 or error.code == http.HTTPStatus.TOO_MANY_REQUESTS:
            raise ConnectionCutError(f"answered {error.code} {error.reason}") from error
        raise AddressUnusableError(f"answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise ConnectionCutError(f"could not be reached ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise ConnectionCutError(f"broke off ({error or type(error).__name__})") from error
    except ValueError as error:
        raise AddressUnusableError(f"is not an address ({error})") from error
    return _read_headers(response, redirects.headers)


def _read_headers(response: Any, redirects: list[Message]) -> HttpSource:
    begin, length = 0, response.headers.get("Content-Length")
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status == http.HTTPStatus.PARTIAL_CONTENT and span:
        begin, length = int(span[1]), span[2]
    etags = [headers.get("X-Linked-Etag", "") for headers in (*redirects, response.headers)]
    hashes = [match[0] for text in etags if (match := _SHA256.search(text.lower()))]
    sizes = [length, *(headers.get("X-Linked-Size") for headers in redirects)]
    total = next((int(text) for text in sizes if text and text.isdigit()), None)
    return HttpSource(response, response.status, begin, total, hashes[0] if hashes else None)
