"""Download a published file that the user chose: resumed if interrupted, verified, and complete or absent."""

from __future__ import annotations

import errno
import http
import os
from collections.abc import Mapping
from pathlib import Path

from ...annotators.catalogue import HUB, PublishedFile, how_to_get, megabytes
from ...annotators.errors import AnnotatorError
from .http_source import AddressUnusableError, ConnectionCutError, HttpSource, open_source
from .partial_file import DownloadProgress, PartialFile

# What gives a similar result without the weights of an annotator, in nodes.
_WITHOUT_WEIGHTS = {
    **dict.fromkeys(("sketch", "soft edge", "lineart"), "T2I Clean Sketch and T2I Canny Edges work without weights"),
    "depth": "T2I Normalize Depth works without weights, on the depth map of any other node",
    "segmentation": "T2I Paint Segmentation works without weights",
    "pose": "T2I Draw Pose works without weights, on the POSE_KEYPOINT of any other node",
}
_TIMEOUT = 30.0  # seconds without a byte
_ATTEMPTS = 3  # per address; each resumes where the previous one stopped
# A file whose exact size is unknown may be this many times its noted size.
_SIZE_MARGIN = 2
_TRUE_WORDS = ("1", "true", "yes", "on")
_READ_ONLY = "a folder that may not be written to"
_DISK_ERRORS = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "no space left in the quota",
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EROFS: _READ_ONLY,
}


def download(
    row: PublishedFile,
    folder: Path,
    progress: DownloadProgress,
    environment: Mapping[str, str] = os.environ,
    timeout: float = _TIMEOUT,
) -> Path:
    """Download a file, or resume an interrupted download.

    The file gets its final name only when it is complete and its hash is right, so an incomplete or wrong file never
    has that name. An exception from ``progress`` stops the download and keeps the partial file for the next time.

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
    _check_allowed(row, folder, environment)
    target = folder / row.file
    if target.is_file():
        return target
    part = PartialFile.beside(target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reasons = []
        for address in (_mirrored(address, environment) for address in row.addresses):
            reason = _failure(row, address, part, progress, timeout)
            if reason is None:
                part.move_to(target)
                return target
            reasons.append(f"{address}: {reason}")
    except OSError as error:
        raise _disk_error(row, folder, part, error) from error
    says = f"{row.file} could not be downloaded."
    raise _error(row, folder, "; ".join(reasons), "the file", says=says, part=part)


def _check_allowed(row: PublishedFile, folder: Path, environment: Mapping[str, str]) -> None:
    if environment.get("HF_HUB_OFFLINE", "").lower() in _TRUE_WORDS:
        says = f"{row.file} was not downloaded: the setting HF_HUB_OFFLINE forbids downloads."
        raise _error(row, folder, "HF_HUB_OFFLINE", "permission to download", says=says)
    if row.file in (".", "..") or Path(row.file).name != row.file or "\\" in row.file:
        says = f"{row.file} was not downloaded: its name contains a folder."
        raise _error(row, folder, "a name with folders in it", "a plain file name", says=says)


def _failure(
    row: PublishedFile, address: str, part: PartialFile, progress: DownloadProgress, timeout: float
) -> str | None:
    """Complete the partial file from one address; return why that failed, or None."""
    reason = ""
    for _ in range(_ATTEMPTS):
        try:
            _attempt(row, address, part, progress, timeout)
        except ConnectionCutError as cut:
            reason = str(cut)
        except AddressUnusableError as error:
            return str(error)
        else:
            return None
    return reason


def _attempt(row: PublishedFile, address: str, part: PartialFile, progress: DownloadProgress, timeout: float) -> None:
    kept = part.size()
    source = open_source(address, kept, timeout)
    with source.response:
        expected = row.sha256 or source.sha256
        if expected is None:
            raise AddressUnusableError("states no sha256, so the file could not be checked")
        _check_stated(row, source)
        if source.begin != kept or part.size(expected) != kept:
            part.delete()
            if source.status == http.HTTPStatus.PARTIAL_CONTENT:
                raise ConnectionCutError("began in the middle of another file")
        part.check_space((source.total or row.size) - source.begin)
        most = row.size if row.exact else _SIZE_MARGIN * row.size
        try:
            digest = part.append(source.chunks(most), expected, source.total, progress)
        except AddressUnusableError:
            part.delete()
            raise
    size = part.size()
    if source.total is not None and size != source.total:
        raise ConnectionCutError(f"broke off after {size} of {source.total} bytes")
    if digest != expected:
        part.delete()
        # A response cut inside its headers states no length, and its empty body looks complete: try again.
        fault = ConnectionCutError if source.total is None else AddressUnusableError
        raise fault(f"sent a file with sha256 {digest} where {expected} was expected; it was deleted")


def _check_stated(row: PublishedFile, source: HttpSource) -> None:
    """Reject a wrong file before any of it is received."""
    if row.sha256 and source.sha256 and source.sha256 != row.sha256:
        raise AddressUnusableError(f"has a file with sha256 {source.sha256}")
    if row.exact and source.total is not None and source.total != row.size:
        # A smaller size may be a Content-Length whose last digits were cut off: try again.
        fault = ConnectionCutError if source.total < row.size else AddressUnusableError
        raise fault(f"has a file of {source.total} bytes where {row.size} were expected")
    if (source.total or 0) > _SIZE_MARGIN * row.size:
        raise AddressUnusableError(f"has a file of {source.total} bytes where about {row.size} were expected")


def _mirrored(address: str, environment: Mapping[str, str]) -> str:
    endpoint = environment.get("HF_ENDPOINT", "").rstrip("/")
    return endpoint + address.removeprefix(HUB) if endpoint and address.startswith(f"{HUB}/") else address


def _disk_error(row: PublishedFile, folder: Path, part: PartialFile, error: OSError) -> AnnotatorError:
    got = _DISK_ERRORS.get(error.errno or 0, "a disk error")
    says = f"{row.file} could not be saved: {got}."
    expected = f"room for {megabytes(row.size)} in {folder}"
    return _error(row, folder, f"{got} ({error.strerror or error})", expected, says=says, part=part)


def how_to_get_in_graph(row: PublishedFile, folder: Path, *, by_choice: bool = True) -> str:
    """Say how to get a file, and which nodes work without it; see :func:`how_to_get`."""
    return how_to_get(row, folder, by_choice=by_choice, instead=_WITHOUT_WEIGHTS[row.annotator])


def _error(
    row: PublishedFile, folder: Path, got: str, expected: str, *, says: str, part: PartialFile | None = None
) -> AnnotatorError:
    kept = part.size() if part else 0
    again = f"{megabytes(kept)} are kept: run again to continue. " if kept else ""
    fix = f"{again}{how_to_get_in_graph(row, folder, by_choice=False)}"
    return AnnotatorError(f"download of {row.file}", got, expected, fix, says=says)
