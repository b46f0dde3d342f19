"""Prepare the examples of a run, and tell what they are."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from ..adapter_models.adapter import T2IAdapter
from ..training.cache import Prepared, prepare_cache
from ..training.cached_dataset import CachedSet
from ..training.checkpoints import write_whole
from ..training.recipe import Recipe
from ..training.samples import Listing, Skipped
from ..training.session import TrainingSession
from ..training.weight_digests import WeightDigests
from .annotate import annotator
from .encode import LoadedCheckpoint, recipe
from .messages import tell_once
from .options import Options

_log = logging.getLogger(__name__)
# Folder of prepared examples beside the runs' folders.
CACHE = "cache"
SKIPPED = "skipped.txt"
# Number of skipped samples named on the screen; the file names all of them.
NAMED = 10


def prepare_examples(
    session: TrainingSession,
    options: Options,
    listings: tuple[Listing, Listing],
    checkpoint: LoadedCheckpoint,
    adapter: T2IAdapter,
) -> tuple[CachedSet, CachedSet | None]:
    """Prepare the examples to train on, and the held-out ones if there are any.

    Args:
        session: The session, entered.
        options: The user's choices.
        listings: The samples to train on, and the held-out ones.
        checkpoint: The checkpoint that encodes.
        adapter: The adapter to train.

    Raises:
        AdapterError: A map or the annotator's weights are missing, no sample can be used, the run began with other
            examples, or a file can't be written; or a subclass, or an AnnotatorError.
    """
    folder, processes = session.plan.folder, session.processes
    cache = folder.parent / CACHE if options.cache is None else options.cache.expanduser().absolute()
    own, other = listings
    needed = any(sample.condition is None for sample in (*own.samples, *other.samples))
    annotate = annotator(options.annotator, options.annotator_file, adapter, processes, needed=needed)
    how = recipe(options, checkpoint, adapter, annotate, WeightDigests(cache))
    # The run's checkpoint knows the examples that it trains on; held-out ones change nothing of the run.
    prepared = _prepare(session, own, how, cache, lambda fingerprint: session.check(data=fingerprint))
    held_out = _prepare(session, other, how, cache, lambda fingerprint: None) if other.samples else None
    left_out = _report(folder, own, prepared, held_out) if processes.first else 0
    data = CachedSet(prepared, how)
    sizes = ", ".join(f"{count} of {width}×{height}" for (height, width), count in data.sizes.items())
    tell_once(processes, f"Sizes: {sizes}.")
    drawn = f"{len(data) - prepared.own} drawn{f' by {annotate.preset.condition}' if annotate else ''}"
    tell_once(processes, f"{len(data)} examples: {prepared.own} with their own maps, {drawn}, {left_out} left out")
    if held_out is None:
        return data, None
    measured = CachedSet(held_out, how)
    tell_once(processes, f"{len(measured)} more examples are held out.")
    return data, measured


def _prepare(
    session: TrainingSession, listing: Listing, how: Recipe, cache: Path, accept: Callable[[str], None]
) -> Prepared:
    """Prepare examples with progress bars."""
    processes = session.processes
    own, everything, hidden = -(-len(listing.samples) // processes.count), len(listing.samples), not processes.first
    with (
        tqdm(total=own, desc="Reading", unit="sample", disable=hidden) as reading,
        tqdm(total=everything, desc="Preparing", unit="sample", disable=hidden) as bar,
    ):

        def done(count: int) -> None:
            # Contents decide who prepares what: the shares are about equal, and not known in advance.
            bar.update(min(count * processes.count, everything - bar.n))

        prepared = prepare_cache(listing, how, cache, processes, done, accept, reading.update)
        bar.update(everything - bar.n)
        return prepared


def _report(folder: Path, listing: Listing, prepared: Prepared, held_out: Prepared | None) -> int:
    """Log and write to a file which samples are skipped, and return their number."""
    skipped: list[Skipped] = [*listing.skipped, *prepared.skipped, *(held_out.skipped if held_out else ())]
    text = "".join(f"{one}\n" for one in skipped).encode()
    write_whole(folder / SKIPPED, lambda file: file.write(text))
    if skipped:
        _log.warning("%d left out; %s names them:", len(skipped), folder / SKIPPED)
        for one in skipped[:NAMED]:
            _log.warning("  %s", one)
    return len(skipped)


def new_data(session: TrainingSession, count: int) -> str:
    """Return a sentence on a data set that has changed since the checkpoint; empty if it has not."""
    changes, step = session.trainer.data_changes, session.trainer.step
    if not changes or changes[-1]["step"] != step:
        return ""
    return f"The data set has changed since then; it has {count} examples now."
