"""Buckets: sizes of equal area, and batches that never mix them and leave nothing out."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from t2i_adapter_pack.training import buckets
from t2i_adapter_pack.training.buckets import Order, bucket_for, bucket_sizes, scattered
from t2i_adapter_pack.training.errors import TrainingError
from t2i_adapter_pack.training.in_memory_dataset import Draw


@pytest.mark.parametrize("resolution", [64, 128, 512, 768, 1024])
def test_sizes_are_multiples_of_64_of_about_the_area(resolution):
    sizes = bucket_sizes(resolution)
    assert (resolution, resolution) in sizes
    assert all(side % 64 == 0 for size in sizes for side in size)
    assert all(height * width <= resolution**2 for height, width in sizes)
    if resolution >= 512:
        assert all(height * width >= 0.85 * resolution**2 for height, width in sizes)
    assert {(width, height) for height, width in sizes} == set(sizes)


def test_the_sizes_of_128_are_three():
    assert bucket_sizes(128) == ((256, 64), (128, 128), (64, 256))


@pytest.mark.parametrize("resolution", [0, -64, 32, 500, 513])
def test_resolutions_that_are_no_multiples_are_refused(resolution):
    with pytest.raises(TrainingError, match="resolution"):
        bucket_sizes(resolution)


@pytest.mark.parametrize(
    ("size", "bucket"),
    [((100, 100), (128, 128)), ((900, 1000), (128, 128)), ((64, 300), (64, 256)), ((9, 1), (256, 64))],
)
def test_pictures_come_into_the_bucket_of_their_shape(size, bucket):
    assert bucket_for(size, bucket_sizes(128)) == bucket


@pytest.mark.parametrize("large", [buckets.LARGE, 0])
@pytest.mark.parametrize("counts", [(1,), (7,), (5, 3), (1, 10, 2), (1, 1, 1)])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 16])
def test_every_example_comes_equally_often_and_once_before_any_comes_again(counts, batch_size, large, monkeypatch):
    monkeypatch.setattr(buckets, "LARGE", large)
    draw, order = Draw(batch_size, seed=3), Order(counts)
    total = sum(counts) * 12
    seen: dict[int, list[int]] = {bucket: [] for bucket in range(len(counts))}
    for number in range(total):
        bucket, places = order.batch(draw, number)
        assert len(places) == batch_size
        seen[bucket] += places
    for bucket, count in enumerate(counts):
        rounds = [seen[bucket][first : first + count] for first in range(0, len(seen[bucket]) - count + 1, count)]
        assert all(sorted(one) == list(range(count)) for one in rounds)
        # The share of a bucket is the share of its examples, to within one batch of it and the round that is going on.
        expected = total * batch_size * count / sum(counts)
        assert abs(len(seen[bucket]) - expected) <= batch_size * (len(counts) + 1) + count


def test_batches_follow_from_seed_and_number():
    order = Order((5, 9, 2))
    batches = [order.batch(Draw(2, seed=1), number) for number in range(40)]
    assert batches == [Order((5, 9, 2)).batch(Draw(2, seed=1), number) for number in range(40)]
    assert batches != [order.batch(Draw(2, seed=2), number) for number in range(40)]


def test_buckets_are_shuffled():
    order = Order((30, 30))
    buckets = [order.batch(Draw(2), number)[0] for number in range(30)]
    assert Counter(buckets) == {0: 15, 1: 15}
    assert buckets not in ([0] * 15 + [1] * 15, [0, 1] * 15)


@pytest.mark.parametrize("count", [2, 3, 100, 1000, 1024, 1025])
def test_computed_places_are_a_random_order(count):
    orders = [[scattered(place, count, key) for place in range(count)] for key in "ab"]
    assert all(sorted(order) == list(range(count)) for order in orders)
    if count < 100:
        return
    assert orders[0] != orders[1]
    # Random orders have one number in its own place, and neighbours that are a third of the range apart, on average.
    for order in orders:
        assert sum(place == one for place, one in enumerate(order)) < 8
        apart = sum(abs(a - b) for a, b in pairwise(order)) / (count - 1)
        assert 0.25 < apart / count < 0.42
