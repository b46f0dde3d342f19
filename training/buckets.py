"""Sizes of equal area for pictures of all shapes, and the order in which batches of one size are drawn."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .errors import TrainingError
from .in_memory_dataset import Draw, in_rounds, seeded

# Every level of an adapter and of a UNet divides sides of this many pixels.
SIDE_STEP = 64
# Sides go from the resolution divided by this to the resolution times this.
_SPREAD = 2

# Height and width in pixels.
PixelSize = tuple[int, int]


def bucket_sizes(resolution: int) -> tuple[PixelSize, ...]:
    """Return the sizes of about the area of a square.

    Args:
        resolution: Side of the square in pixels, a multiple of :data:`SIDE_STEP`.

    Returns:
        Sizes in multiples of :data:`SIDE_STEP`, tall to wide; none would fit into another.

    Raises:
        TrainingError: No such multiple.
    """
    if resolution < SIDE_STEP or resolution % SIDE_STEP:
        raise TrainingError(
            "resolution", str(resolution), f"a multiple of {SIDE_STEP}", "Such as 512, or 1024 for SDXL."
        )
    area, longest = resolution**2, resolution * _SPREAD
    widths = range(max(SIDE_STEP, resolution // _SPREAD // SIDE_STEP * SIDE_STEP), longest + 1, SIDE_STEP)
    tallest = {width: min(longest, area // width // SIDE_STEP * SIDE_STEP) for width in widths}
    sizes = [(height, width) for width, height in tallest.items() if height]
    return tuple(size for size in sizes if not any(_holds(other, size) for other in sizes))


def _holds(other: PixelSize, size: PixelSize) -> bool:
    return other != size and other[0] >= size[0] and other[1] >= size[1]


def bucket_for(size: PixelSize, sizes: Sequence[PixelSize]) -> PixelSize:
    """Return the size whose shape is nearest to a picture's; the first of equals."""
    wanted = math.log(size[0] / size[1])
    return min(sizes, key=lambda one: abs(math.log(one[0] / one[1]) - wanted))


@dataclass(frozen=True)
class Order:
    """In which order batches are drawn from buckets; it follows from the seed alone.

    A bucket of n examples gets n / batch size batches in each round on average, so that every example comes equally
    often, however many there are of its size, and none is left out.

    Attributes:
        counts: Examples in each bucket.
    """

    counts: tuple[int, ...]

    def batch(self, draw: Draw, number: int) -> tuple[int, list[int]]:
        """Return which examples are in a batch.

        Args:
            draw: How batches are drawn.
            number: Which batch of the run, from 0.

        Returns:
            The bucket, and places in it, those of all processes. In a bucket every example comes once before any comes
            again.
        """
        size = draw.batch_size
        # Rounding down costs each bucket less than one batch: so there can't have been more rounds.
        most = (number + len(self.counts) + 1) * size // sum(self.counts) + 2
        turn = bisect.bisect_right(range(most), number, key=lambda turn: sum(self._made(size, turn))) - 1
        made = self._made(size, turn)
        amounts = [after - before for before, after in zip(made, self._made(size, turn + 1), strict=True)]
        shuffled = torch.randperm(sum(amounts), generator=seeded(draw.seed, "buckets", turn))
        ends = torch.tensor(amounts).cumsum(0)
        # Chance says which bucket is next; the batches of each come in their own order.
        buckets = torch.bucketize(shuffled[: number - sum(made) + 1], ends, right=True)
        bucket = int(buckets[-1])
        place = made[bucket] + int((buckets[:-1] == bucket).sum())
        return bucket, in_rounds(draw, self.counts[bucket], place, f"order {bucket}")

    def _made(self, size: int, turn: int) -> list[int]:
        """Return how many batches each bucket has given before a round."""
        return [turn * count // size for count in self.counts]
