"""A cache of examples on the disk: latents, condition images and prompts, shared by runs and data sets.

Each example is an entry of its own, found by the digest of its sample's content and of all that makes it. Moved, copied
and added samples cost only what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .contents import DigestMemory, read_digests
from .distributed import Processes
from .drafts import THREADS, Draft, encode_drafts, fault, read_draft
from .entries import Entry, list_entries, read_skipped, write_entry, write_skipped
from .errors import CheckpointError
from .recipe import Recipe
from .runs import remove_unfinished
from .samples import Listing, Sample, SampleError, Skipped

# Samples in memory together; the next ones are decoded while these are encoded.
SAMPLES = 16
# Age of partial files in seconds from which nobody writes them any more.
LEFT_OVER = 24 * 3600.0
# A sample without an entry, and its key.
Lacking = tuple[Sample, bytes]
# Files of equal content may have other names in another data set.
_PLACEHOLDERS = ("\0map", "\0picture")


@dataclass(frozen=True)
class Prepared:
    """The examples of a data set in a cache.

    Attributes:
        folder: The folder of the entries.
        keys: Keys of the examples, in the order of the samples.
        entries: Their entries.
        skipped: The skipped samples.
        fingerprint: Digest of the recipe and of all keys.
    """

    folder: Path
    keys: tuple[bytes, ...]
    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]
    fingerprint: str

    @property
    def own(self) -> int:
        """Number of examples with their own condition map."""
        return sum(entry.own for entry in self.entries)


def prepare_cache(
    listing: Listing,
    recipe: Recipe,
    folder: Path,
    processes: Processes,
    done: Callable[[int], None] = lambda count: None,
    accept: Callable[[str], None] = lambda fingerprint: None,
    read: Callable[[int], None] = lambda count: None,
) -> Prepared:
    """Make the examples that the cache lacks.

    Args:
        listing: The samples.
        recipe: How samples become examples.
        folder: Folder of the cache, shared by all processes and runs.
        processes: The processes that share the work.
        done: Called with the number of samples done since the last call; their sum is this process's share.
        accept: Called with the fingerprint of all examples before any is made; may raise to refuse them.
        read: Called with the number of samples whose content is known, before any example is made.

    Raises:
        CheckpointError: A file can't be written, or this process can't see all of them.
    """
    keys = _keys(listing.samples, recipe, folder, processes, read)
    known = [(sample, one) for sample, one in zip(listing.samples, keys, strict=True) if isinstance(one, bytes)]
    fingerprint = recipe.fingerprint([key for _, key in known])
    accept(fingerprint)
    place = folder / recipe.identity
    entries, skipped = list_entries(place)
    # Equal contents are one entry; their key, not their place, tells which process makes it.
    mine = {key: sample for sample, key in known if _in_share(key, processes)}
    lacking = [key for key in mine if key not in entries and key not in skipped]
    done(len(mine) - len(lacking))
    if lacking and processes.first:
        # Those of runs that were killed; a run at the same time writes younger ones.
        remove_unfinished(place.rglob(".*.part"), LEFT_OVER)
    _make([(mine[key], key) for key in lacking], recipe, place, done)
    processes.wait()
    return _prepared(listing.samples, keys, place, fingerprint)


def _prepared(
    samples: Sequence[Sample], keys: Sequence[bytes | SampleError], place: Path, fingerprint: str
) -> Prepared:
    entries, skipped = list_entries(place)
    known = [key for key in keys if isinstance(key, bytes)]
    missing = sum(key not in entries and key not in skipped for key in known)
    if missing:
        raise _unshared(place.parent, missing, len(known))
    good = tuple(key for key in known if key in entries)
    reasons = tuple(_skipped(samples, keys, place, entries))
    return Prepared(place, good, tuple(entries[key] for key in good), reasons, fingerprint)


def _in_share(key: bytes, processes: Processes) -> bool:
    return int.from_bytes(key[:8], "little") % processes.count == processes.index


def _keys(
    samples: Sequence[Sample], recipe: Recipe, folder: Path, processes: Processes, done: Callable[[int], None]
) -> list[bytes | SampleError]:
    """Return the keys of samples' entries; the processes share the reading."""
    memory = DigestMemory(folder)
    if processes.count > 1:
        share = samples[processes.index :: processes.count]
        read_digests(memory, share, recipe.wording, done)
        processes.wait()
        memory.read()
        done = _ignore
    # In a group, this reads what the others have not told: samples that can't be read, and a folder of its own.
    contents = read_digests(memory, samples, recipe.wording, done)
    processes.wait()
    if processes.first:
        memory.join()
    return [
        recipe.key(one, own=sample.condition is not None) if isinstance(one, bytes) else one
        for sample, one in zip(samples, contents, strict=True)
    ]


def _ignore(count: int) -> None:
    pass


def _make(lacking: Sequence[Lacking], recipe: Recipe, place: Path, done: Callable[[int], None]) -> None:
    """Make entries: threads decode the next samples and write the last ones while these are encoded."""
    parts = [lacking[first : first + SAMPLES] for first in range(0, len(lacking), SAMPLES)]
    readers = ThreadPoolExecutor(THREADS)
    try:
        # Leaving its context waits for the writers, so an interruption loses only what is being encoded.
        with ThreadPoolExecutor(THREADS) as writers:
            writing: list[Future[None]] = []
            for part, drafts in _read_ahead(readers, parts, recipe):
                encode_drafts([draft for draft in drafts if isinstance(draft, Draft)], recipe)
                _finish(writing)
                writing = [writers.submit(_write, place, *one, draft) for one, draft in zip(part, drafts, strict=True)]
                done(len(part))
            _finish(writing)
    finally:
        readers.shutdown(cancel_futures=True)


def _read_ahead(
    readers: ThreadPoolExecutor, parts: Sequence[Sequence[Lacking]], recipe: Recipe
) -> Iterator[tuple[Sequence[Lacking], list[Draft | SampleError]]]:
    """Yield samples with their drafts; the next ones are being decoded meanwhile."""
    coming = ([readers.submit(read_draft, sample, recipe) for sample, _ in part] for part in parts)
    reading = next(coming, [])
    for part in parts:
        ahead = next(coming, [])
        yield part, [future.result() for future in reading]
        reading = ahead


def _finish(writing: Sequence[Future[None]]) -> None:
    for future in writing:
        future.result()


def _write(place: Path, sample: Sample, key: bytes, draft: Draft | SampleError) -> None:
    reason = fault(draft) if isinstance(draft, Draft) else str(draft)
    if reason:
        write_skipped(place, key, _renamed(reason, _names(sample), _PLACEHOLDERS))
    elif isinstance(draft, Draft):
        write_entry(place, key, draft.tensors, draft.condition is not None)


def _skipped(
    samples: Sequence[Sample], keys: Sequence[bytes | SampleError], place: Path, entries: Container[bytes]
) -> Iterator[Skipped]:
    for sample, key in zip(samples, keys, strict=True):
        if not isinstance(key, bytes):
            yield Skipped(sample.name, str(key))
        elif key not in entries:
            yield Skipped(sample.name, _renamed(read_skipped(place, key), _PLACEHOLDERS, _names(sample)))


def _names(sample: Sample) -> tuple[str, str]:
    return _PLACEHOLDERS[0] if sample.condition is None else sample.condition.name, sample.picture.name


def _renamed(reason: str, before: tuple[str, str], after: tuple[str, str]) -> str:
    for old, new in zip(before, after, strict=True):
        reason = reason.replace(old, new)
    return reason


def _unshared(folder: Path, missing: int, count: int) -> CheckpointError:
    return CheckpointError(
        str(folder),
        f"{count - missing} of {count} examples",
        "all of them in every process",
        "Use a cache folder that all machines share.",
        says="This process does not see all examples of the prepared data set.",
    )
