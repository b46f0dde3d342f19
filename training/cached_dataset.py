"""Examples read row by row from the disk, for data sets larger than memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..annotators.images import from_bytes
from .buckets import Order, PixelSize
from .cache import IMAGE, LATENTS, CacheFile
from .errors import CheckpointError, TrainingError
from .in_memory_dataset import Draw, draw_batch
from .loss import Batch, Prompts
from .prompts import join_rows, same_length
from .recipe import Recipe
from .rows import ROW_DAMAGE, read_row
from .samples import Skipped


class CachedSet:
    """Examples on the disk; see :class:`.in_memory_dataset.Examples`.

    Args:
        files: From :func:`.cache.prepare_cache`.
        recipe: How the samples became examples.

    Raises:
        TrainingError: There are no examples.
    """

    def __init__(self, files: Sequence[CacheFile], recipe: Recipe) -> None:
        self._buckets: dict[PixelSize, list[tuple[CacheFile, int]]] = {}
        for size in recipe.sizes:
            rows = [(file, number) for file in files for number, one in enumerate(file.sizes) if one == size]
            if rows:
                self._buckets[size] = rows
        if not self._buckets:
            raise nothing_to_learn([one for file in files for one in file.skipped])
        self._order = Order(tuple(map(len, self._buckets.values())))
        self._fingerprint = recipe.fingerprint([file.content for file in files])
        # One per size: SDXL gets the size with the prompt.
        self._empty = {size: _empty(recipe, _row(*rows[0])) for size, rows in self._buckets.items()}

    @property
    def empty(self) -> Prompts:
        """The empty prompt, one row of each tensor, for pictures of the first size."""
        return next(iter(self._empty.values()))

    def __len__(self) -> int:
        return sum(self._order.counts)

    @property
    def sizes(self) -> dict[PixelSize, int]:
        """Number of examples of each size."""
        return {size: len(rows) for size, rows in self._buckets.items()}

    def batch(self, draw: Draw, number: int) -> Batch:
        """Draw a share of a batch, all of one size; see :meth:`.in_memory_dataset.TrainingSet.batch`."""
        bucket, places = self._order.batch(draw, number)
        size, members = list(self._buckets.items())[bucket]
        rows = [_row(*members[place]) for place in places[draw.share]]
        prompts = {name: join_rows([row[name] for row in rows]) for name in rows[0] if name not in (LATENTS, IMAGE)}
        prompts, empty = same_length(prompts, self._empty[size])
        latents = torch.cat([row[LATENTS] for row in rows])
        images = from_bytes(torch.cat([row[IMAGE] for row in rows]), latents)
        return draw_batch(draw, number, (latents, images, prompts), empty)

    def fingerprint(self) -> str:
        """Return a digest of the examples."""
        return self._fingerprint


def _row(file: CacheFile, number: int) -> dict[str, Tensor]:
    """Read one example without reading the rest of its file."""
    try:
        row = read_row(file.path, number, {"key": file.key, "content": file.content})
        return {LATENTS: row.pop(LATENTS), IMAGE: row.pop(IMAGE), **row}
    except ROW_DAMAGE as error:
        raise CheckpointError(
            str(file.path),
            f"a damaged or missing file ({error})",
            "the examples that were prepared before the first step",
            "Start the command again: it prepares what is missing.",
            says="A file of the prepared data set is damaged, or was changed or removed during training.",
        ) from error


def _empty(recipe: Recipe, row: dict[str, Tensor]) -> Prompts:
    return {name: tensor.float().cpu() for name, tensor in recipe.prompt("", row[LATENTS]).items()}


def nothing_to_learn(skipped: Sequence[Skipped]) -> TrainingError:
    """Return the error for a data set without a usable sample."""
    reasons = "; ".join(map(str, skipped[:3]))
    return TrainingError(
        "data",
        f"no sample that can be used{f' ({reasons})' if reasons else ''}",
        "pictures with captions, such as cat.png beside cat.txt",
        "Put a caption of the same name beside each picture.",
        says="The data set has no picture to train on.",
    )
