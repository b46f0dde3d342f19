"""Digests of samples' contents, remembered by path, size and time, so that files are read for them only once."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .checkpoints import write_whole
from .recipe import Wording
from .samples import Sample, SampleError

# Bytes of a digest.
DIGEST = 16
PATTERN = "digests_*.bin"
# Number of files from which they are joined to one.
MANY = 32
# Digests written at a time.
SAVED = 1 << 13
# Threads that read files.
READERS = min(8, os.cpu_count() or 1)


def content_digest(sample: Sample, wording: Wording) -> bytes:
    """Return a digest of what a sample's example is made from: the bytes of its files, not their names or times.

    Args:
        sample: The sample.
        wording: How captions become prompts.

    Raises:
        SampleError: A file can't be read, or there is no caption.
    """
    digest = hashlib.blake2b(digest_size=DIGEST)
    captions = [wording.write(text).encode("utf-8", "surrogatepass") for text in sample.prompts()]
    condition = b"" if sample.condition is None else sample.condition.read()
    kind = b"mirrored" if sample.mirrored else b""
    # Lengths first, so that bytes can't move from one part to another.
    for part in (kind, condition, sample.picture.read(), *captions):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


class DigestMemory:
    """Digests of samples by the paths, sizes and times of their files, kept in a folder.

    Args:
        folder: The folder; several processes and runs may share it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamps: NDArray[np.uint64] = np.empty((0, 4), np.uint64)
        self.read()

    def read(self) -> None:
        """Read what this process and others have written."""
        parts = []
        for path in sorted(self._folder.glob(PATTERN)):
            try:
                data = path.read_bytes()
            except OSError:  # joined by another process
                continue
            parts.append(np.frombuffer(data[: len(data) // (2 * DIGEST) * 2 * DIGEST], np.uint64).reshape(-1, 4))
        rows = np.concatenate([np.empty((0, 4), np.uint64), *parts])
        # Sorted by the first column, to be searched; one row for each stamp.
        self._stamps = rows[np.unique(rows[:, 0], return_index=True)[1]]

    def find(self, stamps: Sequence[bytes]) -> list[bytes | None]:
        """Return the digests of samples with these stamps; None for unknown ones."""
        wanted = np.frombuffer(b"".join(stamps), np.uint64).reshape(-1, 2)
        if not len(self._stamps):
            return [None] * len(wanted)
        places = np.searchsorted(self._stamps[:, 0], wanted[:, 0]).clip(max=len(self._stamps) - 1)
        there = (self._stamps[places, :2] == wanted).all(1)
        digests = self._stamps[places, 2:].tobytes()
        return [
            digests[number * DIGEST : (number + 1) * DIGEST] if found else None
            for number, found in enumerate(there.tolist())
        ]

    def add(self, digests: Iterable[tuple[bytes, bytes]]) -> None:
        """Write stamps and their digests.

        Raises:
            CheckpointError: The disk is full, or similar.
        """
        data = b"".join(stamp + digest for stamp, digest in digests)
        if data:
            path = self._folder / PATTERN.replace("*", uuid.uuid4().hex)
            write_whole(path, lambda file: file.write(data))

    def join(self) -> None:
        """Join many files to one; other processes may read them at the same time."""
        paths = list(self._folder.glob(PATTERN))
        if len(paths) >= MANY:
            self.read()
            self.add((row[:2].tobytes(), row[2:].tobytes()) for row in self._stamps)
            for path in paths:
                path.unlink(missing_ok=True)


def sample_stamp(sample: Sample, wording: Wording) -> bytes:
    """Return a digest of the paths, sizes and times of a sample's files, and of the wording."""
    parts = (sample.picture, sample.caption, sample.condition)
    paths = [str(getattr(part, "path", "")) for part in parts]
    facts = repr([wording.name, paths, sample.stamp])
    return hashlib.blake2b(facts.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()


def digest_or_error(sample: Sample, wording: Wording) -> bytes | SampleError:
    """Return the digest of a sample's content, or why it has none."""
    try:
        return content_digest(sample, wording)
    except SampleError as error:
        return error


def read_digests(
    memory: DigestMemory, samples: Sequence[Sample], wording: Wording, done: Callable[[int], None]
) -> list[bytes | SampleError]:
    """Return the digests of samples, and remember those that were not known.

    Args:
        memory: Where to look first.
        samples: The samples.
        wording: How captions become prompts.
        done: Called with the number of samples done since the last call.

    Returns:
        A digest for each sample, or why it has none.

    Raises:
        CheckpointError: The disk is full, or similar.
    """
    stamps = [sample_stamp(sample, wording) for sample in samples]
    found: list[bytes | SampleError | None] = [*memory.find(stamps)]
    fresh = [place for place, one in enumerate(found) if one is None]
    done(len(samples) - len(fresh))
    with ThreadPoolExecutor(READERS) as pool:
        # In parts, so that an interruption costs little.
        for first in range(0, len(fresh), SAVED):
            part = fresh[first : first + SAVED]
            read = list(pool.map(lambda place: digest_or_error(samples[place], wording), part))
            memory.add((stamps[place], one) for place, one in zip(part, read, strict=True) if isinstance(one, bytes))
            for place, one in zip(part, read, strict=True):
                found[place] = one
            done(len(part))
    return [one for one in found if one is not None]
