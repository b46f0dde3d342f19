"""Examples read row by row from the disk, for data sets larger than memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..annotators.images import from_bytes
from .buckets import Order, PixelSize
from .cache import IMAGE, LATENTS, TOLD_SIZES, CacheFile
from .errors import CheckpointError, TrainingError
from .in_memory_dataset import Draw, draw_batch, seeded
from .loss import Batch, Prompts
from .prompts import choose_rows, join_rows, same_length, with_sizes
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
        chances = torch.rand(draw.batch_size, generator=seeded(draw.seed, "captions", number))[draw.share].tolist()
        prompts, sizes = _prompts(rows, [0.0] * len(rows) if draw.first_captions else chances)
        prompts, empty = same_length(prompts, self._empty[size])
        latents = torch.cat([row[LATENTS] for row in rows])
        images = from_bytes(torch.cat([row[IMAGE] for row in rows]), latents)
        batch = draw_batch(draw, number, (latents, images, prompts), empty)
        # Dropped prompts keep the sizes of their pictures.
        return replace(batch, prompts=with_sizes(batch.prompts, sizes))

    def fingerprint(self) -> str:
        """Return a digest of the examples."""
        return self._fingerprint


def _prompts(rows: Sequence[Mapping[str, Tensor]], chances: Sequence[float]) -> tuple[Prompts, Prompts]:
    """Return one prompt of each row, and the columns that tell its sizes, by the names of the prompts' tensors."""
    names = [name for name in rows[0] if name not in (LATENTS, IMAGE) and not name.startswith(TOLD_SIZES)]
    drawn = [
        choose_rows({name: row[name] for name in names}, chance) for row, chance in zip(rows, chances, strict=True)
    ]
    prompts = {name: join_rows([row[name] for row in drawn]) for name in names}
    # A row of an earlier version's entry has told the size of the bucket; its own columns say so.
    sized = {name for row in rows for name in row if name.startswith(TOLD_SIZES)}
    width = {name: next(row[name].shape[1] for row in rows if name in row) for name in sized}
    sizes = {
        name.removeprefix(TOLD_SIZES): torch.cat(
            [row.get(name, row[name.removeprefix(TOLD_SIZES)][:1, -width[name] :]) for row in rows]
        )
        for name in sized
    }
    return prompts, sizes


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
