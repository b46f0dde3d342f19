"""Damaged data sets (truncated, looped, duplicated, other encodings): intact samples are used, others reported."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from t2i_adapter_pack.training.errors import TrainingError
from t2i_adapter_pack.training.pictures import decode
from t2i_adapter_pack.training.samples import SampleError, list_folder
from t2i_adapter_pack.training.shards import list_data

from ..training import datasets
from . import effort

FORMATS = ("png", "jpeg", "webp", "bmp", "tiff", "gif")


def names(listing: Any) -> list[str]:
    return [sample.name for sample in listing.samples]


def encoded(path: Path, kind: str) -> bytes:
    picture = Image.frombytes("RGB", (40, 24), random.Random(0).randbytes(40 * 24 * 3))
    picture.save(path, kind)
    return path.read_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_cut_or_damaged_anywhere_is_read_or_named(tmp_path, kind):
    whole = encoded(tmp_path / "a", kind)
    chance = random.Random(1)
    shape = decode("a", whole).shape
    for place in effort.spread(len(whole), 60, len(whole)):
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << chance.randrange(8)
        for data in (whole[:place], bytes(spoiled), whole[:place] + whole[place + 1 :]):
            try:
                found = decode("picture.x", data)
            except SampleError as error:
                assert str(error).startswith("picture.x ")
                assert len(str(error)) < 1000
            else:
                assert found.min() >= 0
                assert found.max() <= 1
                assert len(found.shape) == len(shape)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_shard_cut_or_damaged_anywhere_lists_what_is_before(tmp_path, damage):
    files = datasets.members(4)
    whole = datasets.shard(tmp_path / "whole.tar", files).read_bytes()
    (tmp_path / "x").mkdir()
    path, chance = tmp_path / "x" / "shard.tar", random.Random(2)
    for place in effort.spread(len(whole), 150, 20_000):
        data = bytearray(whole[:place] if damage == "cut" else whole)
        if damage == "flipped":
            data[place] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        listing = list_data([str(path)])
        for sample in listing.samples:
            try:
                decode(sample.picture.name, sample.picture.read())
                sample.prompt()
            except SampleError as error:
                assert len(str(error)) < 1000
        assert len(listing.samples) <= 4
        if damage == "cut" and len(listing.samples) < 4:
            assert listing.skipped or not data


def test_a_file_that_is_cut_after_it_was_listed_is_named(tmp_path):
    folder = datasets.folder(tmp_path / "data", datasets.members(2))
    shard = datasets.shard(tmp_path / "a.tar", datasets.members(2))
    for place, path in ((folder, folder / "001.png"), (shard, shard)):
        listing = list_data([str(place)])
        os.truncate(path, 700)
        with pytest.raises(SampleError, match=r"001\.png is cut short: \d+ of \d+ bytes"):
            listing.samples[1].picture.read()
        path.unlink()
        with pytest.raises(SampleError, match=r"001\.png can't be read"):
            listing.samples[1].picture.read()


def test_pipes_sockets_and_loops_are_left_out_and_nobody_waits(tmp_path):
    folder = datasets.folder(tmp_path / "data", datasets.members(2))
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "pipe.txt")
    os.mkfifo(folder / "metadata.jsonl")
    os.mkfifo(folder / "shard.tar")
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "up").symlink_to(folder.parent)
    (folder / "here").symlink_to(".")
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    (folder / "one" / "two").symlink_to(folder / "two")
    (folder / "two" / "one").symlink_to(folder / "one")
    (folder / "device.png").symlink_to("/dev/zero")
    listing = list_data([str(folder)])
    assert names(listing) == ["000", "001"]
    for name in ("pipe.tar", "loop.tar"):
        (os.mkfifo if name == "pipe.tar" else lambda path: path.symlink_to(path))(tmp_path / name)
        with pytest.raises(TrainingError, match=r"got .*nothing there"):
            list_data([str(tmp_path / name)])


def test_a_table_that_names_a_pipe_or_a_place_outside_finds_nothing_there(tmp_path):
    folder = datasets.folder(tmp_path / "data", datasets.members(1))
    os.mkfifo(folder / "pipe.png")
    (tmp_path / "outside.png").write_bytes(datasets.png())
    rows = [
        f'{{"file_name": "{name}", "text": "a"}}' for name in ("pipe.png", "../outside.png", "/dev/zero", "\\u0000")
    ]
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    listing = list_folder(folder)
    assert names(listing) == ["000"]
    assert len([one for one in listing.skipped if "no picture" in one.reason]) == len(rows)


def test_names_that_differ_only_in_case_are_two_samples(tmp_path):
    files = {"cat.png": datasets.png(), "cat.txt": b"small", "CAT.png": datasets.png(seed=1), "CAT.txt": b"large"}
    for place in (datasets.folder(tmp_path / "data", files), datasets.shard(tmp_path / "a.tar", files)):
        found = {sample.name.rpartition("/")[2]: sample.prompt() for sample in list_data([str(place)]).samples}
        assert found == {"cat": "small", "CAT": "large"}


def test_names_that_are_not_utf_8_are_used_and_can_be_said(tmp_path):
    folder = datasets.folder(tmp_path / "data", datasets.members(1))
    for name, data in ((b"caf\xe9.png", datasets.png()), (b"caf\xe9.txt", b"a"), (b"bad\xff.png", b"no picture"),
                       (b"bad\xff.txt", b"a")):  # fmt: skip
        (folder / os.fsdecode(name)).write_bytes(data)
    cached = datasets.cached(list_folder(folder), tmp_path / "cache")
    assert len(cached) == 2
    again = datasets.cached(list_folder(folder), tmp_path / "cache")
    assert len(again) == 2
