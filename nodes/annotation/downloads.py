"""Download a published file that the user chose: resumed if interrupted, checked, and complete or absent."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any

from ...annotators.catalogue import HUB, PublishedFile, how_to_get, megabytes
from ...annotators.errors import AnnotatorError

Progress = Callable[[int, int], None]
CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
TRIES = 3  # per address; each resumes where the last one stopped
# A file whose exact size is unknown may be this many times its noted size.
ROOM = 2
SHA256 = re.compile(r"[0-9a-f]{64}")
YES = ("1", "true", "yes", "on")
# Disk errors in words.
DISK_FAULTS = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "no space left in the quota",
    errno.EACCES: "a folder that may not be written to",
    errno.EPERM: "a folder that may not be written to",
    errno.EROFS: "a folder that may not be written to",
}


class _Unusable(Exception):  # noqa: N818 - never leaves this file
    """The address cannot serve the file; the text says why."""


class _Cut(Exception):  # noqa: N818 - never leaves this file
    """The connection broke; the bytes received so far are kept."""


@dataclass(frozen=True)
class Part:
    """An incomplete download: the bytes so far, and a note of the file that they belong to.

    Attributes:
        path: File with the bytes.
        note: File beside it with the SHA-256 of the complete file.
    """

    path: Path
    note: Path

    def size_of(self, identity: str | None = None) -> int:
        """Return the number of bytes kept; 0 for a link, or if they belong to another file than ``identity``."""
        if self.path.is_symlink():
            return 0
        try:
            noted = self.note.read_text(encoding="ascii")
            size = self.path.stat().st_size
        except (OSError, ValueError):
            return 0
        return size if identity in (None, noted) else 0

    def drop(self) -> None:
        """Delete both files."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Answer:
    """What a server states before it sends the file."""

    status: int
    begins: int
    total: int | None
    sha256: str | None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects and keep their headers: only the first server states the hash, not the store behind it."""

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
        origin, place = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        # Plain http can be tampered with on the way. It is allowed only for a mirror that the user names.
        if place.scheme != "https" and (place.scheme, place.netloc) != (origin.scheme, origin.netloc):
            fp.close()
            raise _Unusable(f"redirects to {newurl}, which is not https")
        self.headers.append(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(
    row: PublishedFile,
    folder: Path,
    progress: Progress,
    environment: Mapping[str, str] = os.environ,
    timeout: float = TIMEOUT,
) -> Path:
    """Download a file, or resume an interrupted download.

    The file gets its final name only when it is complete and its hash is right, so an incomplete or wrong file is
    never found under that name. An exception from ``progress`` stops the download and keeps the part for next time.

    Args:
        row: The file.
        folder: Target folder; created if missing.
        progress: Called with (bytes so far, total bytes).
        environment: ``HF_HUB_OFFLINE`` forbids downloads; ``HF_ENDPOINT`` names a mirror of the hub.
        timeout: Seconds without data after which a connection counts as broken.

    Returns:
        The path of the file.

    Raises:
        AnnotatorError: The download failed; the message says why, and how to get the file another way.
    """
    _check_wish(row, folder, environment)
    target = folder / row.file
    if target.is_file():
        return target
    part = Part(folder / f"{row.file}.part", folder / f"{row.file}.part.sha256")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reasons = []
        for address in (_mirrored(address, environment) for address in row.addresses):
            reason = _from_address(row, address, part, progress, timeout)
            if reason is None:
                part.path.replace(target)
                part.drop()
                return target
            reasons.append(f"{address}: {reason}")
    except OSError as error:
        raise _disk_fault(row, folder, part, error) from error
    raise _refusal(row, folder, "; ".join(reasons), "the file", part)


def _check_wish(row: PublishedFile, folder: Path, environment: Mapping[str, str]) -> None:
    if environment.get("HF_HUB_OFFLINE", "").lower() in YES:
        raise _refusal(row, folder, "HF_HUB_OFFLINE, which forbids downloads", "permission to download")
    if row.file in (".", "..") or Path(row.file).name != row.file or "\\" in row.file:
        raise _refusal(row, folder, "a name with folders in it", "a plain file name")


def _from_address(row: PublishedFile, address: str, part: Part, progress: Progress, timeout: float) -> str | None:
    """Complete the part from one address; return the reason for a failure, or None."""
    reason = ""
    for _ in range(TRIES):
        try:
            _attempt(row, address, part, progress, timeout)
        except _Cut as cut:
            reason = str(cut)
        except _Unusable as error:
            return str(error)
        else:
            return None
    return reason


def _attempt(row: PublishedFile, address: str, part: Part, progress: Progress, timeout: float) -> None:
    have = part.size_of()
    response, answer = _open(address, have, timeout)
    with response:
        expected = row.sha256 or answer.sha256
        if expected is None:
            raise _Unusable("states no sha256, so the file could not be checked")
        _check_announced(row, answer)
        if answer.begins != have or (have and part.size_of(expected) != have):
            part.drop()
            if answer.status == 206:
                raise _Cut("began in the middle of another file")
            have = 0
        _check_space(part.path.parent, (answer.total or row.size) - have)
        most = row.size if row.exact else ROOM * row.size
        try:
            digest = _receive(_chunks(response, have, most), part, expected, have, answer.total, progress)
        except _Unusable:
            part.drop()
            raise
    if digest != expected:
        part.drop()
        # An answer cut inside its headers has no length, and its empty body looks complete: worth another try.
        fault = _Cut if answer.total is None else _Unusable
        raise fault(f"sent a file with sha256 {digest} where {expected} was expected; it was deleted")


def _open(address: str, have: int, timeout: float) -> tuple[Any, _Answer]:
    """Request the file, starting at byte ``have``."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "t2i-adapter"}
    if have:
        headers["Range"] = f"bytes={have}-"
    redirects = _Redirects()
    try:
        request = urllib.request.Request(address, headers=headers)
        response = urllib.request.build_opener(redirects).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return _open(address, 0, timeout)
        if error.code >= 500 or error.code == http.HTTPStatus.TOO_MANY_REQUESTS:
            raise _Cut(f"answered {error.code} {error.reason}") from error
        raise _Unusable(f"answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _Cut(f"could not be reached ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise _Cut(f"broke off ({error or type(error).__name__})") from error
    except ValueError as error:
        raise _Unusable(f"is no address ({error})") from error
    return response, _read_answer(response, redirects.headers)


def _read_answer(response: Any, redirected: list[Message]) -> _Answer:
    begins, total = 0, response.headers.get("Content-Length")
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status == http.HTTPStatus.PARTIAL_CONTENT and span:
        begins, total = int(span[1]), span[2]
    stated = [headers.get("X-Linked-Etag", "") for headers in (*redirected, response.headers)]
    hashes = [match[0] for text in stated if (match := SHA256.search(text.lower()))]
    sizes = [headers["X-Linked-Size"] for headers in redirected if headers.get("X-Linked-Size")]
    total = next((text for text in (total, *sizes) if text and text.isdigit()), None)
    return _Answer(response.status, begins, int(total) if total else None, hashes[0] if hashes else None)


def _check_announced(row: PublishedFile, answer: _Answer) -> None:
    """Reject a wrong file before any of it is fetched."""
    if row.sha256 and answer.sha256 and answer.sha256 != row.sha256:
        raise _Unusable(f"has a file with sha256 {answer.sha256}")
    if row.exact and answer.total is not None and answer.total != row.size:
        # Fewer bytes may be a length whose last digits were cut off.
        raise (_Cut if answer.total < row.size else _Unusable)(
            f"has a file of {answer.total} bytes where {row.size} were expected"
        )
    if (answer.total or 0) > ROOM * row.size:
        raise _Unusable(f"has a file of {answer.total} bytes where about {row.size} were expected")


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{megabytes(needed)} needed, {megabytes(free)} free")


def _receive(
    chunks: Iterable[bytes], part: Part, identity: str, have: int, total: int | None, progress: Progress
) -> str:
    """Append the response to the part, and return the SHA-256 of the complete file."""
    digest = hashlib.sha256()
    if not have:
        part.drop()  # writing to a link would change its target
    part.note.write_text(identity, encoding="ascii")
    with part.path.open("r+b" if have else "wb") as file:
        while chunk := file.read(CHUNK) if have else b"":
            digest.update(chunk)
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            have += len(chunk)
            progress(have, total or have)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and have != total:
        raise _Cut(f"broke off after {have} of {total} bytes")
    return digest.hexdigest()


def _chunks(response: Any, have: int, most: int) -> Iterator[bytes]:
    """Yield what comes, as soon as it comes: who waits for more can't be cancelled while a server dawdles."""
    try:
        while chunk := bytes(response.read1(CHUNK)):
            have += len(chunk)
            if have > most:  # of a server that does not say how much it will send, and would fill the disk
                raise _Unusable(f"sends more than the {most} bytes that the file may have")
            yield chunk
    except (http.client.HTTPException, OSError) as error:  # of the network: the disk is not touched here
        raise _Cut(f"broke off ({type(error).__name__})") from error


def _mirrored(address: str, environment: Mapping[str, str]) -> str:
    endpoint = environment.get("HF_ENDPOINT", "").rstrip("/")
    return endpoint + address.removeprefix(HUB) if endpoint and address.startswith(f"{HUB}/") else address


def _disk_fault(row: PublishedFile, folder: Path, part: Part, error: OSError) -> AnnotatorError:
    got = DISK_FAULTS.get(error.errno or 0, "a disk error")
    expected = f"room for {megabytes(row.size)} in {folder}"
    return _refusal(row, folder, f"{got} ({error.strerror or error})", expected, part)


def _refusal(row: PublishedFile, folder: Path, got: str, expected: str, part: Part | None = None) -> AnnotatorError:
    kept = part.size_of() if part else 0
    again = f"{megabytes(kept)} are kept: run again to continue. " if kept else ""
    fix = f"{again}{how_to_get(row, folder, by_choice=False)}"
    return AnnotatorError(f"download of {row.file}", got, expected, fix)
