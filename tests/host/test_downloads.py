"""Downloads are complete and verified or absent, are resumed, and report what went wrong."""

from __future__ import annotations

import errno
import io
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .file_server import Site, serve, sha256

pytestmark = pytest.mark.host
CONTENT = random.Random(0).randbytes(3_000_000)
NAME = "net.pth"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch) -> None:
    """Reach the test server directly, whatever proxy this machine uses."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(CONTENT)) as running:
        yield running


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "models" / "annotators"


def published(site: Site, *paths: str, **changes: Any) -> Any:
    """Return a catalogue row whose file is on the server."""
    from t2i_adapter_pack.annotators.catalogue import PublishedFile

    addresses = tuple(site.url + path for path in paths or ("/net.pth",))
    row = PublishedFile("net", "sketch", NAME, len(CONTENT), sha256(CONTENT), addresses, "MIT", "Canny needs no file")
    return replace(row, **changes)


def fetch(row: Any, folder: Path, progress: Any = lambda *_: None, timeout: float = 5.0, **environment: str) -> Path:
    from t2i_adapter_pack.nodes.annotation.downloads import download

    return download(row, folder, progress, environment, timeout)


def refused(row: Any, folder: Path, **values: Any) -> str:
    """Return the error message; it begins with a plain sentence and says how else to get the file."""
    from t2i_adapter_pack.annotators.errors import AnnotatorError

    with pytest.raises(AnnotatorError) as caught:
        fetch(row, folder, **values)
    message = str(caught.value)
    assert re.match(rf"{NAME} (could|was) not .+\.\n", message)
    for part in (NAME, "3.0 MB", row.addresses[0], str(folder), "T2I Canny Edges work without weights"):
        assert part in message
    return message


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- complete ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/net.pth", "/to/net.pth"])
def test_a_download_leaves_the_complete_file_only(site, folder, path):
    told: list[tuple[int, int]] = []
    target = fetch(published(site, path), folder, lambda *numbers: told.append(numbers))
    assert target == folder / NAME
    assert target.read_bytes() == CONTENT
    assert left(folder) == [NAME]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_no_token_is_sent(site, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(published(site, "/to/net.pth"), folder)
    assert len(site.headers) == 2
    for headers in site.headers:
        assert {name.lower() for name in headers} <= {"accept-encoding", "connection", "host", "user-agent"}
        assert "hf_secret" not in str(headers)


def test_an_existing_file_is_not_downloaded_again(site, folder):
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"the user's")
    assert fetch(published(site), folder).read_bytes() == b"the user's"
    assert site.asked == []


def test_hf_endpoint_replaces_the_hub_only(site, folder):
    from t2i_adapter_pack.annotators.catalogue import HUB

    hub = replace(published(site), addresses=(f"{HUB}/a/b/resolve/main/net.pth",))
    assert fetch(hub, folder, HF_ENDPOINT=f"{site.url}/").read_bytes() == CONTENT
    assert site.asked == [("/a/b/resolve/main/net.pth", None)]
    (folder / NAME).unlink()
    assert fetch(published(site), folder, HF_ENDPOINT="http://127.0.0.1:1").read_bytes() == CONTENT


def test_the_next_address_is_tried(site, folder):
    site.statuses = [404]
    assert fetch(published(site, "/gone", "/net.pth"), folder).read_bytes() == CONTENT
    assert [path for path, _ in site.asked] == ["/gone", "/net.pth"]


# --- hashes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/net.pth", "/to/net.pth"])
def test_without_a_published_hash_the_servers_hash_is_checked(site, folder, path):
    row = published(site, path, sha256=None, exact=False)
    site.stated = sha256(CONTENT)
    assert fetch(row, folder).read_bytes() == CONTENT
    (folder / NAME).unlink()
    site.stated = "0" * 64
    assert f"sha256 {sha256(CONTENT)} where {'0' * 64} was expected" in refused(row, folder)
    assert left(folder) == []


def test_a_file_without_any_hash_is_refused(site, folder):
    assert "states no sha256" in refused(published(site, sha256=None), folder)
    assert left(folder) == []


def test_a_wrong_file_is_deleted(site, folder):
    site.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    assert sha256(CONTENT) in refused(published(site), folder)
    assert left(folder) == []


def test_a_wrong_stated_size_or_hash_is_refused_before_downloading(site, folder):
    told: list[Any] = []
    site.content = CONTENT[:-1]
    row = published(site)
    assert f"{len(CONTENT) - 1} bytes where {len(CONTENT)} were expected" in refused(
        row, folder, progress=lambda *numbers: told.append(numbers)
    )
    site.content, site.stated = CONTENT, "1" * 64
    assert f"has a file with sha256 {'1' * 64}" in refused(row, folder, progress=lambda *numbers: told.append(numbers))
    assert told == []


# --- interrupted ------------------------------------------------------------------------------------------------------


def test_a_cut_download_resumes_at_the_same_byte(site, folder):
    site.cuts = [1_000_000, 500_000]
    assert fetch(published(site), folder).read_bytes() == CONTENT
    assert [wanted for _, wanted in site.asked] == [None, "bytes=1000000-", "bytes=1500000-"]
    assert left(folder) == [NAME]


def test_without_range_support_the_download_restarts(site, folder):
    site.cuts, site.ranges = [1_000_000], False
    assert fetch(published(site), folder).read_bytes() == CONTENT
    assert left(folder) == [NAME]


def test_a_download_cut_on_every_attempt_leaves_only_a_part(site, folder):
    site.cuts = [100, 100, 100]
    message = refused(published(site), folder)
    assert "broke off after 300 of 3000000 bytes" in message
    assert "run again to continue" in message
    assert left(folder) == [f"{NAME}.part", f"{NAME}.part.sha256"]
    assert (folder / f"{NAME}.part").read_bytes() == CONTENT[:300]
    assert fetch(published(site), folder).read_bytes() == CONTENT
    assert site.asked[-1][1] == "bytes=300-"


class CancelledError(Exception):
    """Raised by the progress, as ComfyUI does."""


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cancelled_download_resumes_next_time(site, folder, ranges):
    def cancel(done: int, _: int) -> None:
        if done > 1_500_000:
            raise CancelledError

    site.ranges = ranges
    with pytest.raises(CancelledError):
        fetch(published(site), folder, cancel)
    assert left(folder) == [f"{NAME}.part", f"{NAME}.part.sha256"]
    kept = (folder / f"{NAME}.part").stat().st_size
    assert kept > 1_500_000
    assert fetch(published(site), folder).read_bytes() == CONTENT
    assert site.asked[-1][1] == f"bytes={kept}-"
    assert left(folder) == [NAME]


@pytest.mark.parametrize("note", [sha256(b"another"), None, "é"])
def test_a_part_of_another_file_is_not_resumed(site, folder, note):
    folder.mkdir(parents=True)
    (folder / f"{NAME}.part").write_bytes(b"x" * 1000)
    if note is not None:
        (folder / f"{NAME}.part.sha256").write_text(note, encoding="utf-8")
    assert fetch(published(site), folder).read_bytes() == CONTENT
    assert left(folder) == [NAME]


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_too_long_is_discarded(site, folder, size):
    folder.mkdir(parents=True)
    (folder / f"{NAME}.part").write_bytes(b"x" * size)
    (folder / f"{NAME}.part.sha256").write_text(sha256(CONTENT))
    assert fetch(published(site), folder).read_bytes() == CONTENT


def test_a_damaged_part_is_detected_and_deleted(site, folder):
    folder.mkdir(parents=True)
    (folder / f"{NAME}.part").write_bytes(b"x" * 1000)
    (folder / f"{NAME}.part.sha256").write_text(sha256(CONTENT))
    assert "it was deleted" in refused(published(site), folder)
    assert left(folder) == []


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/net.pth", "http://localhost/net.pth", "ftp://127.0.0.1/net.pth",
                                   "file:///etc/passwd", "//127.0.0.1:9/net.pth"])  # fmt: skip
def test_redirects_are_refused_unless_https_or_same_server(site, folder, place):
    site.redirect = place
    message = refused(published(site), folder)
    assert "is not https" in message or "answered 302" in message  # urllib itself refuses files
    assert len(site.asked) == 1
    assert left(folder) == []


@pytest.mark.parametrize(("place", "followed"), [
    ("https://store.example/net.pth", True),
    ("http://store.example/net.pth", False),
    ("http://hub.example/net.pth", False),
    ("HTTPS://store.example/net.pth", True),
])  # fmt: skip
def test_redirects_from_https_must_lead_to_https(place, followed):
    from email.message import Message
    from urllib.request import Request

    from t2i_adapter_pack.nodes.annotation.http_source import AddressUnusableError, RedirectRecorder

    redirects, asked = RedirectRecorder(), Request("https://hub.example/net.pth")
    body = io.BytesIO()
    if followed:
        assert redirects.redirect_request(asked, body, 302, "Found", Message(), place).full_url == place
    else:
        with pytest.raises(AddressUnusableError, match="not https"):
            redirects.redirect_request(asked, body, 302, "Found", Message(), place)
        assert body.closed


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (403, 1), (401, 1), (503, 3), (429, 3)])
def test_an_http_error_is_reported(site, folder, status, asked):
    site.statuses = [status] * 3
    assert f"answered {status}" in refused(published(site), folder)
    assert len(site.asked) == asked
    assert left(folder) == []


def test_an_unreachable_server_is_reported(site, folder):
    row = published(site, addresses=("http://127.0.0.1:9/net.pth",))
    assert "could not be reached" in refused(row, folder)


@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_hf_hub_offline_forbids_downloads(site, folder, value):
    assert "HF_HUB_OFFLINE" in refused(published(site), folder, HF_HUB_OFFLINE=value)
    assert site.asked == []
    assert not folder.exists()


def test_a_silent_server_times_out(site, folder):
    site.cuts, site.stall = [1000, 1000, 1000], 10.0
    message = refused(published(site), folder, timeout=0.2)
    assert "TimeoutError" in message
    assert left(folder) == [f"{NAME}.part", f"{NAME}.part.sha256"]


def test_a_full_disk_is_reported_before_downloading(site, folder, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    message = refused(published(site), folder)
    assert "no space left on the disk (3.0 MB needed, 1.0 MB free)" in message
    assert left(folder) == []


def test_a_disk_that_fills_up_is_reported(site, folder, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "no space left on the disk" in refused(published(site), folder)
    assert NAME not in left(folder)


def test_a_read_only_folder_is_reported(site, folder, monkeypatch):
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    assert "a folder that may not be written to" in refused(published(site), folder)


def test_a_file_in_the_folders_place_is_reported(site, tmp_path):
    (tmp_path / "annotators").write_text("a file")
    assert "a disk error" in refused(published(site), tmp_path / "annotators")


@pytest.mark.parametrize("name", ["../net.pth", "a/net.pth", "a\\net.pth", ".."])
def test_file_names_with_folders_are_refused(site, folder, name):
    from t2i_adapter_pack.annotators.errors import AnnotatorError

    with pytest.raises(AnnotatorError, match="a name with folders in it"):
        fetch(published(site, file=name), folder)
    assert site.asked == []


@pytest.mark.parametrize("name", [f"{NAME}.part", f"{NAME}.part.sha256"])
def test_nothing_is_written_through_a_link(site, folder, tmp_path, name):
    other = tmp_path / "other"
    other.write_bytes(CONTENT[:1000])
    folder.mkdir(parents=True)
    (folder / f"{NAME}.part.sha256").write_text(sha256(CONTENT))
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(other)
    assert fetch(published(site), folder).read_bytes() == CONTENT
    assert other.read_bytes() == CONTENT[:1000]
    assert left(folder) == [NAME]
    assert not (folder / NAME).is_symlink()
