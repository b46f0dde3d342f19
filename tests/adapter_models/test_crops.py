"""Features of crops: each computed once, alone, whatever tensor brings it; bounded, the oldest dropped."""

import gc
import weakref

import pytest
import torch
from t2i_adapter_pack.adapter_models.crops import Crops

from . import engine

CPU, FLOAT = torch.device("cpu"), torch.float32


def levels(crops, pictures, rows):
    return crops.levels(pictures, rows, device=CPU, dtype=FLOAT)


def test_each_row_gets_the_features_of_its_picture():
    adapter, pictures = engine.adapter(), engine.pictures(3)
    got = levels(Crops(adapter), pictures, [2, 0, 0, 1])
    for row, number in enumerate([2, 0, 0, 1]):
        alone = engine.adapter().features(pictures[number : number + 1], 1, (64, 64), "crop", device=CPU, dtype=FLOAT)
        assert all(torch.equal(level[row : row + 1], one) for level, one in zip(got, alone.levels, strict=True))


def test_rows_that_show_the_same_share_one():
    assert {level.shape[0] for level in levels(Crops(engine.adapter()), engine.pictures(2), [1, 1, 1])} == {1}


def test_equal_pixels_are_computed_once_whatever_tensor_brings_them():
    adapter, pictures = engine.adapter(), engine.pictures(2)
    crops, forwards = Crops(adapter), engine.Forwards(adapter)
    levels(crops, pictures, [0, 1])
    levels(crops, pictures.flip(0), [0, 1])
    levels(crops, torch.cat([pictures[:1]] * 3), [0, 1, 2])
    assert forwards.batches == [1, 1]


@pytest.mark.parametrize("other", [{"height": 128}, {"seed": 1}])
def test_other_pictures_are_computed_anew(other):
    adapter = engine.adapter()
    crops, forwards = Crops(adapter), engine.Forwards(adapter)
    levels(crops, engine.pictures(), [0])
    levels(crops, engine.pictures(**other), [0])
    assert forwards.batches == [1, 1]


def test_the_oldest_are_dropped_but_none_that_is_wanted():
    adapter, pictures = engine.adapter(), engine.pictures(4)
    forwards = engine.Forwards(adapter)
    one = sum(level.nbytes for level in levels(Crops(adapter), pictures, [0]))
    crops = Crops(adapter, max_bytes=2 * one)
    forwards.batches.clear()
    assert levels(crops, pictures, [0, 1, 2])[0].shape[0] == 3
    assert len(forwards.batches) == 3
    levels(crops, pictures, [3])
    levels(crops, pictures, [2])
    assert len(forwards.batches) == 4
    levels(crops, pictures, [0])
    assert len(forwards.batches) == 5


def test_a_crop_is_not_kept_alive():
    crops, pictures = Crops(engine.adapter()), engine.pictures()
    levels(crops, pictures, [0])
    alive = weakref.ref(pictures)
    del pictures
    gc.collect()
    assert alive() is None


def test_tensors_of_inference_mode_are_taken():
    adapter = engine.adapter()
    with torch.inference_mode():
        pictures = engine.pictures(2)
        first = levels(Crops(adapter), pictures, [0, 1])
    assert all(torch.isfinite(level).all() for level in first)
