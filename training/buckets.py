"""Picture sizes of equal area and different shapes, and the order of batches, each of one size."""

from __future__ import annotations

import bisect
import hashlib
import math
import struct
import threading
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from .errors import TrainingError
from .in_memory_dataset import Draw, seeded, shuffled

# Sides are multiples of this many pixels, which every level of adapters and UNets divides.
SIDE_STEP = 64
# Sides range from resolution / _SPREAD to resolution * _SPREAD.
_SPREAD = 2

# Examples of a bucket above which each place is computed alone: drawing a whole round would take up to a second.
LARGE = 1 << 20
# Rounds of a Feistel network; four suffice for an order that looks random.
_FEISTEL = 6
_WORD = (1 << 64) - 1

# Height and width in pixels.
PixelSize = tuple[int, int]


def bucket_sizes(resolution: int) -> tuple[PixelSize, ...]:
    """Return the sizes whose area is about that of a square.

    Args:
        resolution: Side of the square in pixels, a multiple of :data:`SIDE_STEP`.

    Returns:
        Sizes in multiples of :data:`SIDE_STEP`, from tall to wide; none fits into another.

    Raises:
        TrainingError: The resolution is not such a multiple.
    """
    if resolution < SIDE_STEP or resolution % SIDE_STEP:
        raise TrainingError(
            "resolution",
            str(resolution),
            f"a multiple of {SIDE_STEP}",
            "Use 512, or 1024 for SDXL.",
            says=f"The resolution must be a multiple of {SIDE_STEP} pixels.",
        )
    area, longest = resolution**2, resolution * _SPREAD
    widths = range(max(SIDE_STEP, resolution // _SPREAD // SIDE_STEP * SIDE_STEP), longest + 1, SIDE_STEP)
    tallest = {width: min(longest, area // width // SIDE_STEP * SIDE_STEP) for width in widths}
    sizes = [(height, width) for width, height in tallest.items() if height]
    return tuple(size for size in sizes if not any(_holds(other, size) for other in sizes))


def _holds(other: PixelSize, size: PixelSize) -> bool:
    return other != size and other[0] >= size[0] and other[1] >= size[1]


def bucket_for(size: PixelSize, sizes: Sequence[PixelSize]) -> PixelSize:
    """Return the size with the aspect ratio nearest to a picture's; the first of equally near ones."""
    wanted = math.log(size[0] / size[1])
    return min(sizes, key=lambda one: abs(math.log(one[0] / one[1]) - wanted))


class Order:
    """The order in which batches are drawn from buckets, determined by the seed alone.

    In each round, a bucket of n examples gets n / batch size batches on average, so that every example is drawn equally
    often, whatever the size of its bucket.

    Args:
        counts: Examples in each bucket.
    """

    def __init__(self, counts: tuple[int, ...]) -> None:
        self.counts = counts
        # The current rounds: drawing one takes much longer than a batch of it.
        self._rounds: dict[Hashable, dict[int, Tensor]] = {}
        self._drawing = threading.Lock()

    def batch(self, draw: Draw, number: int) -> tuple[int, list[int]]:
        """Return the examples of a batch.

        Args:
            draw: How batches are drawn.
            number: Index of the batch in the run, from 0.

        Returns:
            The bucket, and the places in it, for all processes together. Every example of a bucket is drawn once before
            any is drawn again.
        """
        size = draw.batch_size
        # An upper bound: rounding down costs each bucket less than one batch.
        most = (number + len(self.counts) + 1) * size // sum(self.counts) + 2
        turn = bisect.bisect_right(range(most), number, key=lambda turn: sum(self._made(size, turn))) - 1
        made = self._made(size, turn)
        amounts = [after - before for before, after in zip(made, self._made(size, turn + 1), strict=True)]
        drawn = self._round(("buckets", draw.seed, size), turn, lambda: _turn(draw.seed, turn, amounts))
        bucket, place = drawn[:, number - sum(made)].tolist()
        return bucket, self._places(draw, bucket, made[bucket] + place)

    def _places(self, draw: Draw, bucket: int, number: int) -> list[int]:
        """Return the places of a bucket's batch; see :func:`.in_memory_dataset.in_rounds`."""
        count, purpose = self.counts[bucket], f"order {bucket}"
        first = number * draw.batch_size
        if count > LARGE:
            return [
                scattered(one % count, count, f"{draw.seed}/{purpose}/{one // count}")
                for one in range(first, first + draw.batch_size)
            ]

        def place(one: int) -> int:
            turn = one // count
            drawn = self._round((purpose, draw.seed), turn, lambda: shuffled(draw, count, purpose, turn).int())
            return int(drawn[one % count])

        return [place(one) for one in range(first, first + draw.batch_size)]

    def _round(self, key: Hashable, turn: int, make: Callable[[], Tensor]) -> Tensor:
        """Return a round's order, and forget all but it and the one before."""
        with self._drawing:
            rounds = self._rounds.get(key, {})
            if turn not in rounds:
                rounds = {other: order for other, order in rounds.items() if other == turn - 1}
                self._rounds[key] = rounds | {turn: make()}
            return self._rounds[key][turn]

    def _made(self, size: int, turn: int) -> list[int]:
        """Return the number of batches drawn from each bucket before a round."""
        return [turn * count // size for count in self.counts]


def _turn(seed: int, turn: int, amounts: Sequence[int]) -> Tensor:
    """Return the bucket of each batch of a round, and its number among that bucket's batches of the round; (2, N)."""
    order = torch.randperm(sum(amounts), generator=seeded(seed, "buckets", turn))
    # The order of buckets is random; each bucket's batches come in their own order.
    buckets = torch.bucketize(order, torch.tensor(amounts).cumsum(0), right=True)
    numbers = torch.empty_like(buckets)
    for bucket, amount in enumerate(amounts):
        numbers[buckets == bucket] = torch.arange(amount)
    return torch.stack((buckets, numbers)).int()


def scattered(place: int, count: int, key: str) -> int:
    """Return the example at a place of a random order, without drawing the rest of it.

    Args:
        place: The place, from 0.
        count: Number of examples.
        key: Names the order.

    Source: cycle walking over a Feistel network (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8 * _FEISTEL).digest()
    keys = struct.unpack(f"<{_FEISTEL}Q", digest)
    bits = max(2, (count - 1).bit_length())
    while True:
        place = _mixed(place, keys, bits // 2, bits - bits // 2)
        # Fewer than half of the network's numbers are none of the places.
        if place < count:
            return place


def _mixed(number: int, keys: Sequence[int], high: int, low: int) -> int:
    """Permute the numbers of high + low bits."""
    left, right = number >> low, number & ((1 << low) - 1)
    for key in keys:
        # The finaliser of splitmix64.
        word = (right + key) & _WORD
        word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) & _WORD
        word = ((word ^ word >> 27) * 0x94D049BB133111EB) & _WORD
        left, right = right, (left ^ word ^ word >> 31) & ((1 << high) - 1)
        high, low = low, high
    return left << low | right
