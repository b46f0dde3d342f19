"""Data sets in others' formats: recognised by their files or told, with several captions, and bad rows named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from t2i_adapter_pack.training.buckets import bucket_sizes
from t2i_adapter_pack.training.errors import TrainingError
from t2i_adapter_pack.training.pictures import read_pair
from t2i_adapter_pack.training.samples import SampleError, list_folder
from t2i_adapter_pack.training.shards import list_data

from . import datasets
from .test_layouts import pairs
from .test_samples import named

COCO = {
    "info": {"year": 2017},
    "images": [{"id": 7, "file_name": "07.jpg"}, {"id": 8, "file_name": "08.jpg"}, {"id": 9, "file_name": "09.jpg"}],
    "annotations": [
        {"image_id": 8, "id": 1, "caption": "a dog"},
        {"image_id": 7, "id": 2, "caption": "a cat"},
        {"image_id": 7, "id": 3, "caption": "an animal"},
    ],
}


def coco(root: Path, whole: Any, pictures: str = "val2017") -> Path:
    files = {f"{pictures}/{name}.jpg": name.encode() for name in ("07", "08")}
    files["annotations/captions_val2017.json"] = json.dumps(whole).encode()
    files["annotations/instances_val2017.json"] = b"{ this is not even read"
    return datasets.folder(root, files)


@pytest.mark.parametrize("pictures", ["val2017", "images/val2017", "images"])
def test_coco_s_captions_are_found_from_its_root(tmp_path, pictures):
    listing = list_folder(coco(tmp_path, COCO, pictures))
    assert {one.picture.read(): one.prompts() for one in listing.samples} == {
        b"07": ("a cat", "an animal"),
        b"08": ("a dog",),
    }
    assert named(listing) == {
        "annotations/captions_val2017.json, id 9": "no picture 09.jpg",
        "annotations/instances_val2017.json": "COCO annotations without captions",
    }


@pytest.mark.parametrize("pictures", ["val2017", "images/val2017"])
def test_coco_s_captions_are_found_from_the_folder_of_pictures(tmp_path, pictures):
    listing = list_folder(coco(tmp_path, COCO, pictures) / pictures)
    assert [one.prompts() for one in listing.samples] == [("a cat", "an animal"), ("a dog",)]
    assert named(listing) == {"captions_val2017.json, id 9": "no picture 09.jpg"}


def test_faults_of_coco_s_captions_are_named_with_file_and_entry(tmp_path):
    images = [*COCO["images"][:2], {"id": "x"}]
    annotations = [*COCO["annotations"], {"image_id": 100, "caption": "far"}, {"image_id": 7}, 3]
    file = "annotations/captions_val2017.json"
    listing = list_folder(coco(tmp_path, {"images": images, "annotations": annotations}))
    assert len(listing.samples) == 2
    assert {name: reason for name, reason in named(listing).items() if file in name} == {
        f"{file}, image 3": "no file_name and id",
        f"{file}, annotation 4": "no image with the id 100",
        f"{file}, annotation 5": "no caption",
        f"{file}, annotation 6": "no caption",
    }


@pytest.mark.parametrize("whole", [{"images": []}, [], "text"])
def test_files_of_coco_s_name_without_its_lists_are_named(tmp_path, whole):
    listing = list_folder(coco(tmp_path, whole))
    assert "no COCO captions" in named(listing)["annotations/captions_val2017.json"]


def test_a_table_of_which_nothing_is_there_has_one_line(tmp_path):
    rows = "\n".join(json.dumps({"file_name": f"{number}.png", "text": "x"}) for number in range(11))
    listing = list_folder(datasets.folder(tmp_path, {"a.png": b"", "metadata.jsonl": rows.encode()}))
    assert named(listing) == {
        "metadata.jsonl": "none of the 11 pictures that it names is there, such as 0.png",
    }


def test_tables_may_list_captions_and_tags_count_together(tmp_path):
    rows = [{"file_name": "a.png", "text": ["one", "two"]}, {"file_name": "b.png", "tags": ["x", "y"]}]
    files = {"a.png": b"a", "b.png": b"b", "metadata.jsonl": "\n".join(map(json.dumps, rows)).encode()}
    listing = list_folder(datasets.folder(tmp_path, files))
    assert [one.prompts() for one in listing.samples] == [("one", "two"), ("x, y",)]


def test_a_caption_that_is_not_text_is_named_with_file_and_line_unless_there_is_another(tmp_path):
    rows = [{"file_name": "a.png", "text": 3}, {"file_name": "b.png", "text": 3}]
    files = {"a.png": b"", "b.png": b"", "b.txt": b"b", "metadata.jsonl": "\n".join(map(json.dumps, rows)).encode()}
    first, second = list_folder(datasets.folder(tmp_path, files)).samples
    with pytest.raises(SampleError, match=r"no caption .*; metadata\.jsonl, line 1 has a text that is not text"):
        first.prompts()
    assert second.prompts() == ("b",)


def test_the_format_may_be_told(tmp_path):
    root = coco(tmp_path, COCO)
    (root / "metadata.csv").write_text("file_name,text\nval2017/07.jpg,another")
    told = list_data([str(root)], "coco")
    assert told.samples[0].prompts() == ("a cat", "an animal")
    assert named(told)["metadata.csv"] == "a table in another format (imagefolder) than coco, which is asked for"
    assert list_data([str(root)], "imagefolder").samples[0].prompts() == ("another",)
    with pytest.raises(TrainingError, match=r"no table in the format kohya\.\ndata_format: got"):
        list_data([str(root)], "kohya")


def test_a_table_in_place_of_its_folder_is_told(tmp_path):
    root = coco(tmp_path, COCO)
    with pytest.raises(TrainingError, match=r"captions_val2017\.json: got a file .*Name the folder of its pictures"):
        list_data([str(root / "annotations" / "captions_val2017.json")])


def test_parquet_files_without_pyarrow_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    listing = list_folder(datasets.folder(tmp_path, {"a.png": b"", "train-00000.parquet": b""}))
    assert named(listing) == {"train-00000.parquet": "a parquet file, which needs pyarrow: pip install pyarrow"}


def packed(path: Path, columns: dict[str, list[Any]], rows: int = 2) -> Path:
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path, row_group_size=rows)
    return path


def image(data: bytes | None) -> dict[str, Any]:
    return {"bytes": data, "path": "x.png"}


@pytest.mark.package("pyarrow")
def test_pictures_in_parquet_files_are_read_with_their_maps_and_captions(tmp_path):
    pictures = [datasets.png(seed=number) for number in range(5)]
    columns = {
        "image": [image(data) for data in pictures],
        "conditioning_image": [image(data) for data in pictures],
        "text": [["a", "b"], ["c"], ["d"], [], ["e"]],
    }
    path = packed(tmp_path / "data" / "train-00000-of-00001.parquet", columns)
    for place in (tmp_path, path, str(path).replace("-00000-", "-{00000..00000}-")):
        samples = list_data([str(place)]).samples
        assert [one.picture.read() for one in samples] == pictures
        assert samples[0].prompts() == ("a", "b")
        with pytest.raises(SampleError, match="no caption"):
            samples[3].prompts()
        # In any order, as several processes read them.
        picture, condition, _ = read_pair(samples[4], bucket_sizes(128))
        assert (picture == condition).all()
        assert samples[0].picture.read() == pictures[0]
    assert len({str(one.stamp) for one in samples}) == 5
    data = datasets.cached(list_data([str(path)]), tmp_path / "c")
    assert len(data) == 4


@pytest.mark.package("pyarrow")
def test_parquet_files_may_name_pictures_in_the_folder(tmp_path):
    datasets.folder(tmp_path, {"a.png": b"p", "maps/a.png": b"m"})
    packed(tmp_path / "metadata.parquet", {"file_name": ["a.png", None], "conditioning_image": ["maps/a.png", None],
                                           "caption": ["c", "d"]})  # fmt: skip
    listing = list_folder(tmp_path)
    assert pairs(listing) == {"p": b"m"}
    assert listing.samples[0].prompts() == ("c",)
    assert named(listing) == {"metadata.parquet, row 2": "no name of a picture in file_name"}


@pytest.mark.package("pyarrow")
def test_faults_of_parquet_files_are_named_with_file_and_row(tmp_path):
    packed(tmp_path / "a.parquet", {"image": [image(b"p"), image(None)], "text": ["x", "y"]})
    packed(tmp_path / "b.parquet", {"words": ["x"]})
    datasets.folder(tmp_path, {"c.parquet": b"rubbish"})
    listing = list_folder(tmp_path)
    found = named(listing)
    assert found["b.parquet"].startswith("no column with pictures (file_name, image")
    assert "can't be read" in found["c.parquet"]
    with pytest.raises(SampleError, match=r"a\.parquet, row 2 has no picture in image"):
        listing.samples[1].picture.read()
    again = list_folder(tmp_path).samples[0]
    (tmp_path / "a.parquet").write_bytes(b"rubbish")
    with pytest.raises(SampleError, match="can't be read"):
        again.picture.read()
