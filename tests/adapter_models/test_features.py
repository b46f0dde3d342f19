"""Feature maps: cutting areas out of them, and the cache that keeps them while their picture lives."""

import gc
import threading

import pytest
import torch
from t2i_adapter_pack.adapter_models.features import AdapterFeatures, FeatureCache, crop_level

CPU = torch.device("cpu")


def level(height=8, width=6):
    """Row number + column number / 10 in each cell."""
    rows, columns = torch.arange(height).float().view(-1, 1), torch.arange(width).float() / 10
    return (rows + columns).view(1, 1, height, width)


def features(numbers, value=0.0):
    return AdapterFeatures((torch.full((1, 1, 1, numbers), value),), (8,))


@pytest.mark.parametrize("stride", [8, 16, 64])
@pytest.mark.parametrize("area", [(2, 3, 0, 0), (2, 3, 1, 2), (8, 6, 0, 0), (1, 1, 7, 5)])
def test_an_area_on_the_cells_is_cut_out_exactly(stride, area):
    height, width, top, left = area
    got = crop_level(level(), stride, tuple(stride * side for side in area))
    assert torch.equal(got, level()[..., top : top + height, left : left + width])


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_between_cells_the_values_are_interpolated(share):
    got = crop_level(level(), 32, (64, 64, int(32 * (1 + share)), int(32 * (2 + share))))
    expected = level()[..., 1:3, 2:4] + share + share / 10
    assert torch.allclose(got, expected, atol=1e-6)


def test_an_area_of_part_of_a_cell_gets_a_whole_one():
    assert crop_level(level(), 8, (9, 17, 0, 0)).shape == (1, 1, 2, 3)


def test_over_the_end_the_last_cell_is_repeated():
    got = crop_level(level(), 8, (16, 8, 7 * 8, 0))
    assert got.flatten().tolist() == [7.0, 7.0]
    assert crop_level(level(), 8, (8, 8, 7 * 8 + 4, 0)).item() == 7.0


def test_rows_and_channels_are_kept():
    assert torch.equal(crop_level(whole := torch.rand(3, 5, 4, 4), 8, (32, 32, 0, 0)), whole)


def test_features_on_their_device_are_the_same_object():
    kept = features(3)
    assert kept.to(CPU) is kept
    assert kept.nbytes == 12
    moved = kept.to(torch.device("meta"))
    assert moved.levels[0].is_meta
    assert moved.strides == (8,)


def test_what_was_put_comes_back_for_the_same_picture_and_key_alone():
    cache, picture = FeatureCache(CPU), torch.zeros(3)
    assert cache.get(picture, "a") is None
    cache.put(picture, "a", kept := features(1))
    assert cache.get(picture, "a") is kept
    assert cache.get(picture, "b") is None
    # Equal is not the same: comparing whole pictures would cost as much as it saves.
    assert cache.get(picture.clone(), "a") is None


def test_an_entry_goes_with_its_picture():
    cache, picture, other = FeatureCache(CPU), torch.zeros(3), torch.zeros(3)
    for key in "ab":
        cache.put(picture, key, features(1))
    cache.put(other, "a", features(1))
    assert cache.nbytes == 12
    del picture
    gc.collect()
    assert cache.nbytes == 4


def test_a_dead_picture_never_answers_for_one_at_its_address():
    cache = FeatureCache(CPU)
    for value in range(200):
        picture = torch.zeros(3)
        assert cache.get(picture, "a") is None
        cache.put(picture, "a", features(1, float(value)))
        del picture
    assert cache.nbytes == 0


def test_the_oldest_go_first_where_the_bound_is_reached():
    cache, pictures = FeatureCache(CPU, max_bytes=40), [torch.zeros(1) for _ in range(4)]
    for picture in pictures:
        cache.put(picture, "a", features(4))
    assert [cache.get(picture, "a") is not None for picture in pictures] == [False, False, True, True]
    assert cache.nbytes == 32


def test_putting_again_replaces_and_makes_it_the_youngest():
    cache, (first, second, third) = FeatureCache(CPU, max_bytes=8), [torch.zeros(1) for _ in range(3)]
    cache.put(first, "a", features(1))
    cache.put(second, "a", features(1))
    cache.put(first, "a", again := features(1, 1.0))
    assert cache.nbytes == 8
    cache.put(third, "a", features(1))
    assert cache.get(first, "a") is again
    assert cache.get(second, "a") is None


def test_what_alone_exceeds_the_bound_is_not_kept_and_drives_nothing_out():
    cache, picture = FeatureCache(CPU, max_bytes=8), torch.zeros(1)
    cache.put(picture, "a", features(2))
    cache.put(picture, "b", features(3))
    assert cache.get(picture, "a") is not None
    assert cache.get(picture, "b") is None


def test_entries_are_kept_on_the_offload_device():
    cache, picture = FeatureCache(torch.device("meta")), torch.zeros(1)
    cache.put(picture, "a", features(2))
    assert cache.get(picture, "a").levels[0].is_meta


def test_threads_may_share_a_cache():
    cache, shared, errors = FeatureCache(CPU, max_bytes=400), torch.zeros(1), []

    def work(number):
        try:
            for turn in range(300):
                picture = torch.zeros(1)
                cache.put(picture, number, mine := features(1, float(turn)))
                assert cache.get(picture, number) in (mine, None)
                cache.put(shared, (number, turn % 7), features(1))
                cache.get(shared, (number + 1, turn % 7))
                assert cache.nbytes <= 400
        except Exception as error:  # noqa: BLE001 - handed to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert not any(thread.is_alive() for thread in threads)
    assert cache.nbytes <= 4 * 7 * 4
