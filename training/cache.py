"""A cache of examples on the disk: latents, condition images and prompts.

Each file holds a few samples. Files are written atomically and record what they were made from, so an interrupted
preparation continues, and changed samples are prepared again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ..adapter_models.hint import prepare_hint
from ..annotators.images import to_bytes
from .buckets import PixelSize
from .checkpoints import write_whole
from .distributed import Processes
from .errors import CheckpointError
from .framing import Framing
from .pictures import read_pair
from .prompts import join_rows
from .recipe import Recipe
from .rows import ROW_DAMAGE, read_facts
from .samples import Listing, Sample, SampleError, Skipped

# Samples per file: few enough to hold their pictures in memory together.
SAMPLES = 32
PATTERN = "examples_*.safetensors"
# Names of tensors in a file; all others belong to the prompts, under the denoiser's names, a row for each caption.
LATENTS, IMAGE = "picture.latents", "picture.condition"
# Prefix of the names of prompts whose last columns tell sizes; entries of earlier versions lack them.
TOLD_SIZES = "sizes."


@dataclass(eq=False)
class Draft:
    """A sample that is being turned into an example.

    Attributes:
        name: Name of the sample.
        picture: (1, 3, H, W), the size of its bucket.
        condition: Its own condition image, or None.
        captions: Its captions, as passed to the text encoder.
        framing: Its original size and crop.
        tensors: Results so far, by name.
    """

    name: str
    picture: Tensor
    condition: Tensor | None
    captions: tuple[str, ...]
    framing: Framing
    tensors: dict[str, Tensor] = field(default_factory=dict)


def make_file(path: Path, samples: Sequence[Sample], recipe: Recipe) -> None:
    """Make examples from samples and write them to a file.

    Args:
        path: The file.
        samples: The samples; the file lists the unusable ones.
        recipe: How samples become examples.

    Raises:
        CheckpointError: The file can't be written.
    """
    drafts, skipped, content = _read(samples, recipe)
    # One network at a time, so that each is moved to the device once per file.
    for draft in drafts:
        draft.tensors[LATENTS] = recipe.latents(draft.picture).float().cpu()
    for draft in drafts:
        prompts = [recipe.prompt(caption, draft.tensors[LATENTS]) for caption in draft.captions]
        rows = {name: join_rows([prompt[name] for prompt in prompts]) for name in prompts[0]}
        rows |= {f"{TOLD_SIZES}{name}": tensor for name, tensor in recipe.size_rows(draft.framing).items()}
        draft.tensors |= {name: tensor.float().cpu() for name, tensor in rows.items()}
    for draft in drafts:
        image = recipe.annotate(draft.picture) if draft.condition is None else draft.condition
        size = (draft.picture.shape[-2], draft.picture.shape[-1])
        draft.tensors[IMAGE] = to_bytes(
            prepare_hint(image.cpu().float(), size, "crop", recipe.channels, bgr=recipe.bgr)
        )
    good = [draft for draft in drafts if all(torch.isfinite(tensor).all() for tensor in draft.tensors.values())]
    skipped += [Skipped(draft.name, "NaN in its latents or its prompt") for draft in drafts if draft not in good]
    tensors = {
        f"{number}.{name}": tensor.contiguous()
        for number, draft in enumerate(good)
        for name, tensor in draft.tensors.items()
    }
    facts = {
        "key": recipe.key(samples),
        "content": content,
        "own": str(sum(draft.condition is not None for draft in good)),
        "sizes": json.dumps([draft.picture.shape[-2:] for draft in good]),
        "skipped": json.dumps([[one.name, one.reason] for one in skipped]),
    }
    data = safetensors.torch.save(tensors, facts)
    write_whole(path, lambda file: file.write(data))


def _read(samples: Sequence[Sample], recipe: Recipe) -> tuple[list[Draft], list[Skipped], str]:
    drafts: list[Draft] = []
    skipped: list[Skipped] = []
    content = hashlib.blake2b(digest_size=16)
    for sample in samples:
        try:
            captions = tuple(map(recipe.wording.write, sample.prompts()))
            picture, condition, framing = read_pair(sample, recipe.sizes)
        except SampleError as error:
            skipped.append(Skipped(sample.name, str(error)))
            continue
        drafts.append(Draft(sample.name, picture, condition, captions, framing))
        # The contents of the files, not their paths or times.
        caption_or_all = captions[0] if len(captions) == 1 else captions
        content.update(repr([sample.name, caption_or_all, condition is None]).encode())
        for tensor in (picture, condition):
            if tensor is not None:
                content.update(to_bytes(tensor).numpy().tobytes())
    return drafts, skipped, content.hexdigest()


@dataclass(frozen=True)
class CacheFile:
    """The description that a cache file has in its header.

    Attributes:
        path: The file.
        key: See :meth:`.recipe.Recipe.key`.
        content: Digest of the samples' contents.
        sizes: The bucket of each example.
        own: Number of examples with their own condition map.
        skipped: The skipped samples.
    """

    path: Path
    key: str
    content: str
    sizes: tuple[PixelSize, ...]
    own: int
    skipped: tuple[Skipped, ...]


def open_file(path: Path) -> CacheFile | None:
    """Read the description of a cache file; None if there is no usable file."""
    try:
        facts = read_facts(path)
        sizes = tuple((height, width) for height, width in json.loads(facts["sizes"]))
        skipped = tuple(Skipped(name, reason) for name, reason in json.loads(facts["skipped"]))
        return CacheFile(path, facts["key"], facts["content"], sizes, int(facts["own"]), skipped)
    except ROW_DAMAGE:
        return None


def own_samples(listing: Listing, processes: Processes) -> int:
    """Return the number of samples that this process prepares."""
    firsts = range(0, len(listing.samples), SAMPLES)[processes.index :: processes.count]
    return sum(len(listing.samples[first : first + SAMPLES]) for first in firsts)


def prepare_cache(
    listing: Listing,
    recipe: Recipe,
    folder: Path,
    processes: Processes,
    done: Callable[[int], None] = lambda count: None,
    accept: Callable[[str], None] = lambda fingerprint: None,
) -> list[CacheFile]:
    """Make the examples that the cache lacks.

    Args:
        listing: The samples.
        recipe: How samples become examples.
        folder: Folder of the cache, shared by all processes.
        processes: The processes that share the work.
        done: Called with the number of samples done since the last call.
        accept: Called with the fingerprint of all examples. If it raises CheckpointError, no usable file is replaced.

    Returns:
        The files, in the order of the samples.

    Raises:
        CheckpointError: A file can't be written, or this process can't see all of them.
    """
    parts = [listing.samples[first : first + SAMPLES] for first in range(0, len(listing.samples), SAMPLES)]
    paths = [folder / PATTERN.replace("*", f"{number:06}") for number in range(len(parts))]
    keys = [recipe.key(samples) for samples in parts]
    for number, (path, samples) in enumerate(zip(paths, parts, strict=True)):
        if number % processes.count == processes.index:
            _make_missing(path, keys[number], samples, recipe)
            done(len(samples))
    processes.wait()
    files = _current_files(folder, paths, keys)
    try:
        accept(recipe.fingerprint([file.content for file in files]))
    except CheckpointError:
        processes.wait()
        if processes.first:
            _remove_refused(files, paths)
        raise
    processes.wait()
    if processes.first:
        _replace_files(folder, files, paths)
    processes.wait()
    return [replace(file, path=path) for file, path in zip(files, paths, strict=True)]


def _current_files(folder: Path, paths: Sequence[Path], keys: Sequence[str]) -> list[CacheFile]:
    found = [_current(path, key) for path, key in zip(paths, keys, strict=True)]
    there = [file for file in found if file is not None]
    if len(there) != len(found):
        raise CheckpointError(
            str(folder),
            f"{len(there)} of {len(found)} files of examples",
            "all of them in every process",
            "Use an output folder that all machines share.",
            says="This process does not see all files of the prepared data set.",
        )
    return there


def _staged(path: Path) -> Path:
    """Return where a new file waits until the cache's file of this name may be replaced."""
    return path.with_suffix(f".new{path.suffix}")


def _current(path: Path, key: str) -> CacheFile | None:
    """Return the file with a key: the cache's, or the new one that is to replace it."""
    found = (open_file(place) for place in (path, _staged(path)))
    return next((file for file in found if file is not None and file.key == key), None)


def _make_missing(path: Path, key: str, samples: Sequence[Sample], recipe: Recipe) -> None:
    if _current(path, key) is None:
        # A usable file of other examples stays until the new ones are accepted: the run may depend on it.
        make_file(path if open_file(path) is None else _staged(path), samples, recipe)


def _remove_refused(files: Sequence[CacheFile], paths: Sequence[Path]) -> None:
    for file, path in zip(files, paths, strict=True):
        if file.path != path:
            file.path.unlink(missing_ok=True)


def _replace_files(folder: Path, files: Sequence[CacheFile], paths: Sequence[Path]) -> None:
    """Put new files in place, and remove files left by a larger data set or an earlier refusal."""
    for file, path in zip(files, paths, strict=True):
        if file.path != path:
            file.path.replace(path)
    for path in set(folder.glob(PATTERN)) - set(paths):
        path.unlink()
