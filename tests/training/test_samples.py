"""Samples in folders and shards: how files belong together, and what is named instead of used."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from t2i_adapter_pack.training.errors import TrainingError
from t2i_adapter_pack.training.patterns import expand
from t2i_adapter_pack.training.samples import Sample, SampleError, list_folder
from t2i_adapter_pack.training.shards import list_data, list_shard

from . import datasets


def named(listing):
    return {one.name: one.reason for one in listing.skipped}


def parts(sample: Sample) -> tuple[str | None, ...]:
    return tuple(None if part is None else part.name for part in (sample.picture, sample.caption, sample.condition))


@pytest.mark.parametrize("caption", ["a.txt", "a.caption", "a.json"])
@pytest.mark.parametrize("condition", [None, "a.cond.png", "a.condition.JPG", "conditions/a.webp"])
def test_files_of_one_name_are_a_sample(tmp_path, caption, condition):
    files = {"a.png": b"p", caption: b'{"caption": "c"}', **({condition: b"m"} if condition else {})}
    listing = list_folder(datasets.folder(tmp_path, files))
    assert [parts(sample) for sample in listing.samples] == [("a.png", caption, condition)]
    assert listing.skipped == ()
    in_shard = list_shard(datasets.shard(tmp_path / "s.tar", files))
    assert [parts(sample) for sample in in_shard.samples] == [("a.png", caption, condition)]
    assert in_shard.samples[0].name == "s/a"


def test_maps_may_lie_in_a_folder_beside_that_of_the_pictures(tmp_path):
    datasets.folder(tmp_path / "images", {"a.png": b"p", "deep/b.png": b"q"})
    datasets.folder(tmp_path / "conditions", {"a.png": b"m", "deep/b.png": b"n"})
    samples = list_folder(tmp_path / "images").samples
    assert [(sample.picture.read(), sample.condition.read()) for sample in samples] == [(b"p", b"m"), (b"q", b"n")]


def test_folders_are_listed_deep_and_in_the_order_of_names(tmp_path):
    files = {"b.png": b"", "a/c.jpg": b"", "a.png": b"", ".hidden.png": b"", "__MACOSX/x.png": b"", "notes.md": b""}
    listing = list_folder(datasets.folder(tmp_path, files))
    assert [sample.name for sample in listing.samples] == ["a", "a/c", "b"]
    assert listing.skipped == ()


def test_names_end_at_the_last_dot_in_folders_and_at_the_first_in_shards(tmp_path):
    files = {"v1.5 cat.png": b"", "v1.5 cat.txt": b"", "b.png": b"", "b.seg.png": b""}
    assert [sample.name for sample in list_folder(datasets.folder(tmp_path / "f", files)).samples] == [
        "b", "b.seg", "v1.5 cat",
    ]  # fmt: skip
    assert [sample.name for sample in list_shard(datasets.shard(tmp_path / "s.tar", files)).samples] == ["s/b"]


def test_what_has_no_picture_and_what_is_too_much_is_named(tmp_path):
    files = {"a.txt": b"", "b.cond.png": b"", "c.png": b"", "c.jpg": b"", "c.txt": b"c"}
    listing = list_folder(datasets.folder(tmp_path, files))
    assert [sample.picture.name for sample in listing.samples] == ["c.jpg"]
    assert named(listing) == {
        "a": "a caption without a picture",
        "b": "a condition map without a picture",
        "c.png": "another file of the sample c is used",
    }


def test_captions_are_text_without_a_mark_or_space_at_the_ends(tmp_path):
    files = {"a.png": b"", "a.txt": b"\xef\xbb\xbf ein B\xc3\xa4r\r\n", "b.png": b"", "b.json": b'{"caption": " x "}'}
    assert [one.prompt() for one in list_folder(datasets.folder(tmp_path, files)).samples] == ["ein Bär", "x"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "no caption"),
        ({"a.txt": b"\xff\xfe"}, "a.txt is not UTF-8"),
        ({"a.json": b"{"}, "a.json is not JSON with a caption"),
        ({"a.json": b'{"text": "x"}'}, "a.json is not JSON with a caption"),
        ({"a.json": b'["caption"]'}, "a.json is not JSON with a caption"),
        ({"a.json": b'{"caption": 3}'}, "a caption that is not text"),
    ],
)
def test_captions_that_are_none_are_told(tmp_path, files, reason):
    sample = list_folder(datasets.folder(tmp_path, {"a.png": b"", **files})).samples[0]
    with pytest.raises(SampleError, match=reason):
        sample.prompt()


def test_files_that_vanish_or_shrink_are_told(tmp_path):
    sample = list_folder(datasets.folder(tmp_path, {"a.png": b"12345"})).samples[0]
    (tmp_path / "a.png").write_bytes(b"123")
    with pytest.raises(SampleError, match="cut short: 3 of 5 bytes"):
        sample.picture.read()
    (tmp_path / "a.png").unlink()
    with pytest.raises(SampleError, match="can't be read"):
        sample.picture.read()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("s-{08..11}.tar", ["s-08.tar", "s-09.tar", "s-10.tar", "s-11.tar"]),
        ("{0..1}/{0..1}", ["0/0", "0/1", "1/0", "1/1"]),
        ("{5..3}", []),
        ("{a..c}", ["{a..c}"]),
    ],
)
def test_ranges_of_shards_are_written_out(pattern, names):
    assert expand(pattern) == names


def test_places_follow_one_another(tmp_path):
    files = datasets.members(2)
    for number in (1, 2):
        datasets.shard(tmp_path / "shards" / f"{number}.tar", files)
    datasets.folder(tmp_path / "pictures", files)
    places = [str(tmp_path / "shards" / "{1..2}.tar"), str(tmp_path / "pictures"), str(tmp_path / "shards")]
    names = [sample.name for sample in list_data(places).samples]
    assert names == ["1/000", "1/001", "2/000", "2/001", "000", "001", "1/000", "1/001", "2/000", "2/001"]


def test_places_that_are_none_are_refused(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(TrainingError, match=r"data, .*b\.tar: got nothing there; expected a folder"):
        list_data([str(tmp_path / "b.tar")])
    with pytest.raises(TrainingError, match=r"a file that is not a \.tar.*without compression"):
        list_data([str(tmp_path / "a.tar.gz")])


@pytest.mark.parametrize(
    ("keep", "reason"),
    [
        (1536 + 100, "damaged after a.txt"),  # in the second header
        (1536 + 512 + 100, "damaged after b.txt"),  # in the second member's bytes
    ],
)
def test_a_shard_that_is_cut_short_is_named(tmp_path, keep, reason):
    path = datasets.shard(tmp_path / "s.tar", {"a.txt": b"x" * 600, "b.txt": b"y" * 600})
    path.write_bytes(path.read_bytes()[:keep])
    assert reason in named(list_shard(path))["s.tar"]


def test_a_shard_without_the_zeros_at_its_end_is_whole(tmp_path):
    """Shards that were put together from pieces may lack them."""
    path = datasets.shard(tmp_path / "s.tar", {"a.png": b"x" * 512})
    path.write_bytes(path.read_bytes()[:1024])
    assert named(list_shard(path)) == {}
    assert list_shard(path).samples[0].picture.read() == b"x" * 512


def test_a_damaged_header_is_named_with_the_last_whole_member(tmp_path):
    path = datasets.shard(tmp_path / "s.tar", {"a.png": b"1", "a.txt": b"2", "b.png": b"3"})
    data = bytearray(path.read_bytes())
    data[2 * 1024 : 2 * 1024 + 200] = b"\xff" * 200
    path.write_bytes(data)
    listing = list_shard(path)
    assert [sample.name for sample in listing.samples] == ["s/a"]
    assert named(listing) == {"s.tar": "damaged after a.txt"}


@pytest.mark.parametrize("data", [b"", b"rubbish" * 200])
def test_a_shard_that_is_none_is_named(tmp_path, data):
    (tmp_path / "s.tar").write_bytes(data)
    listing = list_shard(tmp_path / "s.tar")
    assert listing.samples == ()
    assert "damaged after its beginning" in named(listing)["s.tar"]


def test_links_and_paths_that_lead_out_do_nothing(tmp_path):
    """Nothing is written anywhere, so a name is only a name."""
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        member = tarfile.TarInfo("../../out.png")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    assert [sample.picture.read() for sample in list_shard(path).samples] in ([], [b"x"])
    assert {entry.name for entry in tmp_path.iterdir()} == {"s.tar"}
