"""Examples read one by one from the disk, for data sets larger than memory."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from .buckets import Order, PixelSize
from .cache import Prepared
from .entries import IMAGE, LATENTS, TOLD_SIZES, Entry, read_entry
from .errors import CheckpointError, TrainingError
from .in_memory_dataset import Draw, draw_batch, seeded
from .loss import Batch, Prompts
from .prompts import choose_rows, join_rows, same_length, with_sizes
from .recipe import Recipe
from .rows import ROW_DAMAGE
from .samples import Skipped


class CachedSet:
    """Examples on the disk; see :class:`.in_memory_dataset.Examples`. Threads may draw batches at the same time.

    Args:
        prepared: From :func:`.cache.prepare_cache`.
        recipe: How the samples became examples.

    Raises:
        TrainingError: There are no examples.
        CheckpointError: An example can't be read.
    """

    def __init__(self, prepared: Prepared, recipe: Recipe) -> None:
        self._prepared = prepared
        members: dict[PixelSize, list[int]] = {size: [] for size in recipe.sizes}
        for place, entry in enumerate(prepared.entries):
            members[entry.size].append(place)
        self._buckets = {size: torch.tensor(places) for size, places in members.items() if places}
        if not self._buckets:
            raise nothing_to_learn(prepared.skipped)
        self._order = Order(tuple(map(len, self._buckets.values())))
        # One per size: SDXL gets the size with the prompt.
        self._empty = {size: _empty(recipe, self._row(int(places[0]))) for size, places in self._buckets.items()}

    @property
    def empty(self) -> Prompts:
        """The empty prompt, one row of each tensor, for pictures of the first size."""
        return next(iter(self._empty.values()))

    def __len__(self) -> int:
        return sum(self._order.counts)

    @property
    def sizes(self) -> dict[PixelSize, int]:
        """Number of examples of each size."""
        return {size: len(places) for size, places in self._buckets.items()}

    def batch(self, draw: Draw, number: int) -> Batch:
        """Draw a share of a batch, all of one size; see :meth:`.in_memory_dataset.TrainingSet.batch`.

        Condition images are bytes and prompts in half precision, until :meth:`.loss.Batch.to` converts them.
        """
        bucket, places = self._order.batch(draw, number)
        size, members = list(self._buckets.items())[bucket]
        rows = [self._row(int(members[place])) for place in places[draw.share]]
        chances = torch.rand(draw.batch_size, generator=seeded(draw.seed, "captions", number))[draw.share].tolist()
        prompts, sizes = _prompts(rows, [0.0] * len(rows) if draw.first_captions else chances)
        prompts, empty = same_length(prompts, self._empty[size])
        latents, images = (torch.cat([row[name] for row in rows]) for name in (LATENTS, IMAGE))
        batch = draw_batch(draw, number, (latents, images, prompts), empty)
        # Dropped prompts keep the sizes of their pictures.
        return replace(batch, prompts=with_sizes(batch.prompts, sizes))

    def fingerprint(self) -> str:
        """Return a digest of the examples."""
        return self._prepared.fingerprint

    def _row(self, place: int) -> dict[str, Tensor]:
        entry, key = self._prepared.entries[place], self._prepared.keys[place]
        return _read(self._prepared.folder, entry, key)


def _prompts(rows: Sequence[Mapping[str, Tensor]], chances: Sequence[float]) -> tuple[Prompts, Prompts]:
    """Return one prompt of each row, and the columns that tell its sizes, by the names of the prompts' tensors."""
    names = [name for name in rows[0] if name not in (LATENTS, IMAGE) and not name.startswith(TOLD_SIZES)]
    drawn = [
        choose_rows({name: row[name] for name in names}, chance) for row, chance in zip(rows, chances, strict=True)
    ]
    prompts = {name: join_rows([row[name] for row in drawn]) for name in names}
    told = [name for name in rows[0] if name.startswith(TOLD_SIZES)]
    return prompts, {name.removeprefix(TOLD_SIZES): torch.cat([row[name] for row in rows]) for name in told}


def _read(folder: Path, entry: Entry, key: bytes) -> dict[str, Tensor]:
    path = entry.path(folder, key)
    try:
        return read_entry(path, key)
    except ROW_DAMAGE as error:
        # The listing tells entries by their size alone; a damaged one of the right size would stay for ever.
        with contextlib.suppress(OSError):
            path.unlink()
        raise CheckpointError(
            str(path),
            f"a damaged or missing file ({error})",
            "an example that was prepared before the first step",
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
