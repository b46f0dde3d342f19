"""Pictures of all kinds of files, and the damaged ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from t2i_adapter_pack.training.buckets import bucket_sizes
from t2i_adapter_pack.training.pictures import decode, read_condition, read_picture
from t2i_adapter_pack.training.samples import SampleError, list_folder

from . import datasets


def saved(picture: Image.Image, kind: str = "PNG", **values) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **values)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_pictures_of_all_modes_become_three_channels(mode):
    gray = Image.new("L", (6, 4), 255)
    picture = decode("x", saved(gray.convert("RGB").convert(mode), "TIFF" if mode == "CMYK" else "PNG"))
    assert picture.shape == (1, 3, 4, 6)
    assert picture.unique().tolist() == [1.0]


def test_colours_and_rows_stay_where_they_are():
    values = np.zeros((2, 3, 3), np.uint8)
    values[0, 2] = (255, 0, 51)
    picture = decode("x", saved(Image.fromarray(values)))
    assert picture[0, :, 0, 2].tolist() == pytest.approx([1, 0, 0.2])
    assert picture.sum().item() == pytest.approx(1.2)


def test_depth_of_sixteen_bits_keeps_its_range():
    values = np.array([[0, 32768, 65535]], np.uint16)
    picture = decode("x", saved(Image.fromarray(values)))
    assert picture[0, :, 0].tolist() == [pytest.approx([0, 0.5, 1], abs=1e-4)] * 3


RAMP = np.array([[0, 0.25, 1]], np.float32)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("TIFF", RAMP),
        ("TIFF", RAMP.astype(">f4").astype(np.float32)),
        ("PPM", RAMP),  # which for floats is PFM
        ("TIFF", (RAMP * 65535).astype(np.uint16)),
        ("TIFF", (RAMP * 65535).astype(">u2")),
        ("PNG", (RAMP * 65535).astype(np.uint16)),
        ("TIFF", (RAMP * 65535).astype(np.int32)),
    ],
)
def test_maps_of_more_than_eight_bits_keep_their_range(kind, values):
    picture = decode("x", saved(Image.fromarray(values), kind))
    assert picture[0, :, 0].tolist() == [pytest.approx([0, 0.25, 1], abs=1e-4)] * 3


@pytest.mark.parametrize("values", [np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint16)])
def test_maps_of_more_than_eight_bits_may_be_black(values):
    assert decode("x", saved(Image.fromarray(values), "TIFF")).unique().tolist() == [0]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (RAMP * 255, "numbers from 0 to 255, where 1 is white and 0 black: scale them"),
        (RAMP - 0.5, "numbers from -0.5 to 0.5, where 1"),
        (RAMP * np.float32("nan"), "NaN, where 1"),
        (np.array([[0, np.nan, 1]], np.float32), "NaN, where 1"),
        (np.array([[0, np.inf, 1]], np.float32), "numbers from 0 to inf"),
        (np.array([[0, 8, 255]], np.uint16), "numbers from 0 to 255, where 65535 is white"),
        (np.array([[0, 8, 70000]], np.int32), "numbers from 0 to 70000, where 65535 is white"),
        (np.array([[-3, 8, 7000]], np.int32), "numbers from -3 to 7000, where 65535 is white"),
    ],
)
def test_maps_of_another_range_are_told_and_not_trained_as_black_or_white(values, reason):
    with pytest.raises(SampleError, match=f"x has {reason}"):
        decode("x", saved(Image.fromarray(values), "TIFF"))


def test_pictures_are_turned_as_the_camera_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90°
    assert decode("x", saved(Image.new("RGB", (6, 4)), "JPEG", exif=exif)).shape == (1, 3, 6, 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_pictures_are_told(kind, part):
    rows = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(rows), kind)
    with pytest.raises(SampleError, match="cat is no picture that can be read"):
        decode("cat", data[: int(len(data) * part)])


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", r"\(an empty file\)"), (b"<html>", r"\(of no format that is known\)"), (b"\0" * 64, "no format")],
)
def test_a_file_without_a_picture_is_told_without_the_program_s_own_objects(data, reason):
    with pytest.raises(SampleError, match=f"cat is no picture that can be read .*{reason}") as caught:
        decode("cat", data)
    assert "0x" not in str(caught.value)


def test_pictures_and_maps_are_cut_alike(tmp_path):
    """The map is the picture itself: what is left of both must be equal."""
    data = datasets.png(300, 100)
    sample = list_folder(datasets.folder(tmp_path, {"a.png": data, "a.cond.png": data})).samples[0]
    picture, size = read_picture(sample.picture, bucket_sizes(128))
    assert size == (100, 300)
    assert picture.shape == (1, 3, 64, 256)
    condition = read_condition(sample, size, (64, 256))
    assert torch.equal(picture, condition)


def test_maps_of_another_size_are_told(tmp_path):
    files = {"a.png": datasets.png(128, 128), "a.cond.png": datasets.png(64, 128)}
    sample = list_folder(datasets.folder(tmp_path, files)).samples[0]
    with pytest.raises(SampleError, match=r"a\.cond\.png has 64×128 pixels, its picture 128×128"):
        read_condition(sample, (128, 128), (128, 128))
