"""Data sets as people have them: maps in folders of other names, links, tables; found, or named as what they are."""

from __future__ import annotations

import json
import os

import pytest
from t2i_adapter_pack.training.samples import SampleError, list_folder
from t2i_adapter_pack.training.shards import list_data, list_shard

from . import datasets
from .test_samples import named


def pairs(listing) -> dict[str, bytes | None]:
    """The samples by their pictures' bytes, with the bytes of their maps."""
    return {
        one.picture.read().decode(): None if one.condition is None else one.condition.read() for one in listing.samples
    }


MAP_FOLDERS = ("conditions", "Conditions", "conditioning_images", "conditioning images", "cond", "CONTROL-IMAGES")


@pytest.mark.parametrize("maps", MAP_FOLDERS)
@pytest.mark.parametrize("pictures", ["", "images/", "train/10_cat/"])
def test_maps_are_found_in_folders_of_usual_names(tmp_path, maps, pictures):
    files = {f"{pictures}a.png": b"p", f"{pictures}a.txt": b"c"}
    places = {f"{pictures}{maps}/a.png"}
    if pictures.count("/") < 2:
        places.add(f"{maps}/a.png")
    if pictures:
        places |= {f"{maps}/{pictures}a.png", f"{pictures.rstrip('/')}/../{maps}/a.png"}
    for number, place in enumerate(sorted(places)):
        data = {**files, os.path.normpath(place): b"m"}
        listing = list_folder(datasets.folder(tmp_path / str(number), data))
        assert pairs(listing) == {"p": b"m"}, place
        assert listing.skipped == ()
        in_shard = list_shard(datasets.shard(tmp_path / f"{number}.tar", data))
        assert pairs(in_shard) == {"p": b"m"}, place


@pytest.mark.parametrize("maps", MAP_FOLDERS)
def test_maps_are_found_beside_the_folder_of_the_pictures(tmp_path, maps):
    datasets.folder(tmp_path, {"images/a.png": b"p", "images/deep/b.png": b"q", f"{maps}/a.png": b"m"})
    datasets.folder(tmp_path, {f"{maps}/deep/b.png": b"n"})
    assert pairs(list_folder(tmp_path / "images")) == {"p": b"m", "q": b"n"}


@pytest.mark.parametrize("place", ["", "target"])
def test_controlnets_own_data_set_is_found(tmp_path, place):
    rows = [{"source": "source/0.png", "target": "target/0.png", "prompt": "a circle"}]
    files = {"source/0.png": b"m", "target/0.png": b"p", "prompt.json": "\n".join(map(json.dumps, rows)).encode()}
    datasets.folder(tmp_path, files)
    listing = list_folder(tmp_path / place)
    assert pairs(listing) == {"p": b"m"}
    if not place:
        assert listing.samples[0].prompt() == "a circle"
    assert listing.skipped == ()


def test_a_folder_source_without_target_holds_pictures(tmp_path):
    listing = list_folder(datasets.folder(tmp_path, {"source/0.png": b"p", "source/0.txt": b"c"}))
    assert pairs(listing) == {"p": None}


HUGGING_FACE = [{"file_name": "images/0.png", "text": "zero", "conditioning_image": "maps/0.png"},
                {"file_name": "images/1.png", "text": "(one)", "conditioning_image": "maps/one.png"}]  # fmt: skip


@pytest.mark.parametrize("kind", ["jsonl", "csv", "list"])
@pytest.mark.parametrize("column", ["conditioning_image", "conditioning_image_file_name", "Conditioning_Image_Path"])
def test_hugging_faces_tables_are_read(tmp_path, kind, column):
    rows = [
        {(column if name == "conditioning_image" else name): value for name, value in row.items()}
        for row in HUGGING_FACE
    ]
    tables = {
        "jsonl": ("metadata.jsonl", "\n".join(map(json.dumps, rows))),
        "csv": (
            "metadata.csv",
            "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]),
        ),
        "list": ("dataset.json", json.dumps(rows)),
    }
    name, text = tables[kind]
    files = {f"images/{n}.png": f"p{n}".encode() for n in range(2)}
    files |= {"maps/0.png": b"m0", "maps/one.png": b"m1"}
    data = {f"train/{path}": content for path, content in {**files, name: text.encode()}.items()}
    for listing in (
        list_folder(datasets.folder(tmp_path / "f", data)),
        list_shard(datasets.shard(tmp_path / "s.tar", data)),
    ):
        assert pairs(listing) == {"p0": b"m0", "p1": b"m1"}
        assert [one.prompt() for one in listing.samples] == ["zero", "(one)"]
        assert listing.skipped == ()


def test_a_caption_in_a_table_is_part_of_what_changes(tmp_path):
    stamps = []
    for text in ("one", "two"):
        row = json.dumps({"file_name": "a.png", "text": text}).encode()
        stamps.append(list_folder(datasets.folder(tmp_path, {"a.png": b"p", "metadata.jsonl": row})).samples[0].stamp)
    assert stamps[0][1] != stamps[1][1]


def test_captions_beside_pictures_come_before_those_of_tables(tmp_path):
    row = json.dumps({"file_name": "a.png", "text": "table"}).encode()
    listing = list_folder(datasets.folder(tmp_path, {"a.png": b"", "a.txt": b"mine", "metadata.jsonl": row}))
    assert listing.samples[0].prompt() == "mine"


@pytest.mark.parametrize("key", ["10_cat/a.png", "10_cat/a", "/old/disk/10_cat/a.png", "D:\\train\\10_cat\\a"])
def test_kohyas_layouts_are_found(tmp_path, key):
    table = {key: {"tags": "1girl", "caption": "a girl"}}
    files = {"10_cat/a.png": b"p", "cond/a.png": b"m", "meta_cap.json": json.dumps(table).encode()}
    listing = list_folder(datasets.folder(tmp_path, files))
    assert pairs(listing) == {"p": b"m"}
    assert listing.samples[0].prompt() == "a girl"
    assert listing.skipped == ()


def test_a_folders_name_is_no_caption_and_told(tmp_path):
    sample = list_folder(datasets.folder(tmp_path, {"10_sks cat/a.png": b""})).samples[0]
    with pytest.raises(SampleError, match=r"no caption .*the name of a folder, as kohya's scripts take it, is none"):
        sample.prompt()


def test_what_looks_like_a_map_in_an_unknown_folder_is_told(tmp_path):
    files = {"images/a.png": b"", "images/a.txt": b"c", "edges/a.png": b""}
    samples = {one.name: one for one in list_folder(datasets.folder(tmp_path, files)).samples}
    with pytest.raises(SampleError, match="the condition map of images/a, call its folder conditions"):
        samples["edges/a"].prompt()
    assert samples["images/a"].prompt() == "c"


def test_maps_that_may_belong_to_several_pictures_are_named(tmp_path):
    listing = list_folder(datasets.folder(tmp_path, {"a/1.png": b"p", "b/1.png": b"q", "cond/1.png": b"m"}))
    assert pairs(listing) == {"p": None, "q": None}
    assert named(listing) == {"cond/1.png": "a condition map for a/1 or for b/1"}


@pytest.mark.parametrize("name", ["conditions/a.npy", "a.cond.exr", "cond/a.hdr"])
def test_a_map_that_can_not_be_read_is_not_drawn_anew(tmp_path, name):
    listing = list_folder(datasets.folder(tmp_path, {"a.png": b"p", "a.txt": b"c", name: b"m"}))
    assert pairs(listing) == {"p": b"m"}


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (b"{", {"metadata.jsonl, line 1": "not a JSON object"}),
        (b"\xff\xfe", {"metadata.jsonl": "a table that can't be read ('utf-8'"}),
        (b"", {"metadata.jsonl": "an empty table"}),
        (b'{"text": "x"}', {"metadata.jsonl, line 1": "no column with a picture's name (file_name"}),
        (b'{"file_name": "b.png"}', {"metadata.jsonl, line 1": "no picture b.png"}),
        (b'{"file_name": "../../a.png"}', {"metadata.jsonl, line 1": "no picture ../../a.png"}),
        (b'{"file_name": "' + b"x" * 5000 + b'"}', {"metadata.jsonl, line 1": "no picture " + "x" * 200}),
        (b'{"file_name": 3}', {"metadata.jsonl, line 1": "no column with a picture's name"}),
        (b'{"file_name": "a.png", "source": "flickr"}', {}),
        (b'{"file_name": "a.png", "text": "1"}\n\n{"file_name": "a.png", "text": "2"}',
         {"metadata.jsonl, line 3": "another caption of a.png is used"}),
        (b"[" * 100_000, {"metadata.jsonl": "a table that can't be read"}),
    ],
)  # fmt: skip
def test_tables_of_any_content_are_told(tmp_path, table, told):
    listing = list_folder(datasets.folder(tmp_path, {"a.png": b"p", "metadata.jsonl": table}))
    assert pairs(listing) == {"p": None}
    found = named(listing)
    assert found.keys() == told.keys()
    assert all(found[name].startswith(reason) for name, reason in told.items()), found
    assert all(len(reason) < 300 for reason in found.values())


def test_a_table_that_names_a_map_which_is_not_there_leaves_the_sample_out(tmp_path):
    """Drawing another in its place would train something else in silence."""
    rows = b'{"file_name": "a.png", "text": "a", "conditioning_image": "m/a.png"}\n{"file_name": "b.png", "text": "b"}'
    listing = list_folder(datasets.folder(tmp_path, {"a.png": b"p", "b.png": b"q", "metadata.jsonl": rows}))
    assert pairs(listing) == {"q": None}
    assert named(listing) == {"metadata.jsonl, line 1": "no condition map m/a.png"}


def test_links_to_folders_are_followed(tmp_path):
    datasets.folder(tmp_path / "elsewhere", {"maps/a.png": b"m", "more/b.png": b"q", "c.png": b"r"})
    root = datasets.folder(tmp_path / "data", {"a.png": b"p", "a.txt": b"c"})
    (root / "conditions").symlink_to(tmp_path / "elsewhere" / "maps")
    (root / "deep").symlink_to(tmp_path / "elsewhere" / "more")
    (root / "c.png").symlink_to(tmp_path / "elsewhere" / "c.png")
    listing = list_folder(root)
    assert pairs(listing) == {"p": b"m", "q": None, "r": None}
    assert listing.skipped == ()


def test_folders_of_maps_may_be_links_to_the_same_maps(tmp_path):
    root = datasets.folder(tmp_path / "d", {"a/1.png": b"p", "b/1.png": b"q", "shared/1.png": b"m"})
    for name in ("a", "b"):
        (root / name / "conditions").symlink_to(root / "shared")
    assert pairs(list_folder(root)) == {"p": b"m", "q": b"m", "m": None}


def test_links_in_circles_end(tmp_path):
    root = datasets.folder(tmp_path / "d", {"a.png": b"p", "conditions/a.png": b"m", "x/b.png": b"q"})
    (root / "x" / "up").symlink_to(root)
    (root / "conditions" / "up").symlink_to(root)
    (root / "conditions" / "self").symlink_to(root / "conditions")
    (root / "itself").symlink_to(root / "itself")
    (root / "gone.png").symlink_to(root / "nothing.png")
    (root / "again").symlink_to(root / "x")
    for first in range(12):
        (root / f"l{first}").mkdir()
        for second in range(12):
            (root / f"l{first}" / f"to{second}").symlink_to(root / f"l{second}")
    listing = list_folder(root)
    assert pairs(listing) == {"p": b"m", "q": None}
    found = named(listing)
    assert found["x/up"] == found["conditions/up"] == "a link to a folder that contains it"
    assert found["again"] == "a link to a folder that is listed already"
    assert found["gone.png"] == "a link to nothing"
    assert "can't be read" in found["itself"]


def test_pipes_and_folders_that_can_not_be_entered_hang_nothing(tmp_path):
    root = datasets.folder(tmp_path / "d", {"a.png": b"p", "x/b.png": b"q"})
    os.mkfifo(root / "pipe.png")
    assert pairs(list_folder(root)) == {"p": None, "q": None}


def test_a_place_may_be_a_link_or_the_folder_of_now(tmp_path, monkeypatch):
    datasets.folder(tmp_path, {"images/a.png": b"p", "cond/a.png": b"m"})
    (tmp_path / "link").symlink_to(tmp_path / "images")
    monkeypatch.chdir(tmp_path / "images")
    for place in (".", str(tmp_path / "link")):
        assert pairs(list_data([place])) == {"p": b"m"}
