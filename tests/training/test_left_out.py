"""Files that look like data and are not read: each has a line that says why."""

from __future__ import annotations

import io
import os
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from t2i_adapter_pack.training.buckets import bucket_sizes
from t2i_adapter_pack.training.pictures import read_condition, read_picture
from t2i_adapter_pack.training.samples import list_folder
from t2i_adapter_pack.training.shards import list_data, list_shard

from . import datasets
from .test_pictures import saved
from .test_samples import named


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("set.tar.gz", "a compressed file, which is not read: repack shards as .tar without compression"),
        ("set.tgz", "a compressed file"),
        ("more/set.zip", "a compressed file"),
        ("more/set.tar", "a shard in a subfolder, which is not read: name the subfolder itself"),
        ("cat.gif", "a picture in a format that is not read: save it as .png or .jpg"),
        ("cat.HEIC", "a picture in a format that is not read"),
        ("cat.mp4", "a video, which is not read"),
    ],
)
def test_files_of_other_formats_are_named(tmp_path, file, reason):
    listing = list_data([str(datasets.folder(tmp_path, {"a.png": b"p", file: b""}))])
    assert [one.name for one in listing.samples] == ["a"]
    assert named(listing).keys() == {file}
    assert named(listing)[file].startswith(reason)


def test_notes_and_caches_of_other_programs_need_no_line(tmp_path):
    files = {"a.png": b"p", "a.npz": b"", "README.md": b"", "Thumbs.db": b"", "LICENSE": b""}
    assert list_folder(datasets.folder(tmp_path, files)).skipped == ()


def test_shards_directly_in_the_folder_are_read_whatever_the_case_of_their_suffix(tmp_path):
    datasets.shard(tmp_path / "a.TAR", {"1.png": b"p"})
    listing = list_data([str(tmp_path)])
    assert [one.name for one in listing.samples] == ["a/1"]
    assert listing.skipped == ()


def test_links_and_other_fields_in_shards_are_named(tmp_path):
    path = datasets.shard(tmp_path / "s.tar", {"a.png": b"p", "a.depth.png": b"m", "b.gif": b"g"})
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("c.png")
        link.type, link.linkname = tarfile.LNKTYPE, "a.png"
        tar.addfile(link)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    assert named(list_shard(path)) == {
        "a.depth.png": "a picture that is not read; a condition map is called a.cond.png",
        "b.gif": "a picture in a format that is not read: save it as .png or .jpg",
        "s.tar, c.png": "a link or a special file: store the file itself in the shard",
    }


def test_maps_beside_the_folder_that_are_missing_or_not_used_are_named(tmp_path):
    datasets.folder(tmp_path, {"a/images/1.png": b"p", "b/images/1.png": b"p", "b/images/cond/1.png": b"m"})
    (tmp_path / "a" / "conditions").symlink_to(tmp_path / "nothing")
    (tmp_path / "b" / "conditions").mkdir()
    found = named(list_folder(tmp_path / "a" / "images"))
    assert found.keys() == {str(tmp_path / "a" / "conditions")}
    assert "can't be read" in found[str(tmp_path / "a" / "conditions")]
    assert named(list_folder(tmp_path / "b" / "images")) == {
        str(tmp_path / "b" / "conditions"): "a folder of condition maps; those inside the data set are used"
    }


def test_pipes_are_named(tmp_path):
    datasets.folder(tmp_path, {"a.png": b"p"})
    os.mkfifo(tmp_path / "pipe.png")
    assert named(list_folder(tmp_path)) == {"pipe.png": "neither a file nor a folder"}


def transparent(mode: str) -> bytes:
    """Black on the left, and on the right a blue that is three quarters transparent."""
    picture = Image.new("RGBA", (128, 128), (0, 0, 0, 255))
    picture.paste((0, 0, 255, 64), (64, 0, 128, 128))
    if mode == "P":
        with_a_colour_for_none = Image.new("P", (128, 128), 0)
        with_a_colour_for_none.putpalette([0, 0, 0, 0, 0, 255])
        with_a_colour_for_none.paste(1, (64, 0, 128, 128))
        return saved(with_a_colour_for_none, transparency=1)
    return saved(picture.convert(mode))


@pytest.mark.parametrize(
    ("mode", "right"), [("RGBA", (191, 191, 255)), ("LA", (198, 198, 198)), ("P", (255, 255, 255))]
)
def test_transparent_pictures_are_put_on_white_and_maps_keep_their_values(tmp_path, mode, right):
    data = transparent(mode)
    sample = list_folder(datasets.folder(tmp_path, {"a.png": data, "a.cond.png": data})).samples[0]
    picture, size = read_picture(sample.picture, bucket_sizes(128))
    assert picture[0, :, 0, 0].tolist() == [0, 0, 0]
    assert (picture[0, :, 0, -1] * 255).tolist() == pytest.approx(right, abs=1.01)
    condition = read_condition(sample, size, (128, 128))
    assert condition[0, 0, 0, -1] < 0.2


def test_opaque_pictures_with_alpha_keep_their_exact_values(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    pictures = []
    for mode in ("RGB", "RGBA"):
        file = io.BytesIO()
        Image.fromarray(values).convert(mode).save(file, "PNG")
        sample = list_folder(datasets.folder(tmp_path / mode, {"a.png": file.getvalue()})).samples[0]
        pictures.append(read_picture(sample.picture, bucket_sizes(128))[0])
    assert torch.equal(*pictures)
