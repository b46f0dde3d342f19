"""Examples made once and kept on the disk: latents, condition images and prompts.

They lie in files of some samples each. A file is written whole or not at all, and says what it was made of, so that an
interrupted preparation goes on, and what has changed is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
from .pictures import read_condition, read_picture
from .recipe import Recipe
from .rows import ROW_DAMAGE, read_facts
from .samples import Listing, Sample, SampleError, Skipped

# Samples in a file: few enough for their pictures to be in memory together.
SAMPLES = 32
PATTERN = "examples_*.safetensors"
# Names of tensors in a file; all others are of the prompt, as the denoiser calls them.
LATENTS, IMAGE = "picture.latents", "picture.condition"


@dataclass(eq=False)
class Draft:
    """A sample on its way to an example.

    Attributes:
        name: Of the sample.
        picture: (1, 3, H, W) in the size of its bucket.
        condition: Its condition image, where it has one.
        caption: Its caption, as the text encoder is given it.
        tensors: What is done so far, by name.
    """

    name: str
    picture: Tensor
    condition: Tensor | None
    caption: str
    tensors: dict[str, Tensor] = field(default_factory=dict)


def make_file(path: Path, samples: Sequence[Sample], recipe: Recipe) -> None:
    """Make the examples of some samples, and write them.

    Args:
        path: The file.
        samples: The samples; those that can't be used are named in the file.
        recipe: How.

    Raises:
        CheckpointError: The file can't be written.
    """
    drafts, skipped, content = _read(samples, recipe)
    # One network after the other: each is brought to the device once for the file.
    for draft in drafts:
        draft.tensors[LATENTS] = recipe.latents(draft.picture).float().cpu()
    for draft in drafts:
        rows = recipe.prompt(draft.caption, draft.tensors[LATENTS])
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
            caption = recipe.wording.write(sample.prompt())
            picture, size = read_picture(sample.picture, recipe.sizes)
            condition = read_condition(sample, size, (picture.shape[-2], picture.shape[-1]))
        except SampleError as error:
            skipped.append(Skipped(sample.name, str(error)))
            continue
        drafts.append(Draft(sample.name, picture, condition, caption))
        # What the files hold, not where they lie or when they were written.
        content.update(repr([sample.name, caption, condition is None]).encode())
        for tensor in (picture, condition):
            if tensor is not None:
                content.update(to_bytes(tensor).numpy().tobytes())
    return drafts, skipped, content.hexdigest()


@dataclass(frozen=True)
class CacheFile:
    """What a file of examples says of itself.

    Attributes:
        path: The file.
        key: See :meth:`Recipe.key`.
        content: A short text that differs for other contents.
        sizes: The bucket of each example.
        own: How many of them have their own condition map.
        skipped: The samples that were left out.
    """

    path: Path
    key: str
    content: str
    sizes: tuple[PixelSize, ...]
    own: int
    skipped: tuple[Skipped, ...]


def open_file(path: Path) -> CacheFile | None:
    """Read what a file of examples says of itself; None where there is none that can be used."""
    try:
        facts = read_facts(path)
        sizes = tuple((height, width) for height, width in json.loads(facts["sizes"]))
        skipped = tuple(Skipped(name, reason) for name, reason in json.loads(facts["skipped"]))
        return CacheFile(path, facts["key"], facts["content"], sizes, int(facts["own"]), skipped)
    except ROW_DAMAGE:
        return None


def prepare_cache(
    listing: Listing,
    recipe: Recipe,
    folder: Path,
    processes: Processes,
    done: Callable[[int], None] = lambda count: None,
) -> list[CacheFile]:
    """Make the examples that are not there yet.

    Args:
        listing: The samples.
        recipe: How.
        folder: Where the files lie; all processes must see it.
        processes: Each makes its share.
        done: Called with how many samples are done since the last call.

    Returns:
        The files, in the order of the samples.

    Raises:
        CheckpointError: The files can't be written, or not be seen by this process.
    """
    parts = [listing.samples[first : first + SAMPLES] for first in range(0, len(listing.samples), SAMPLES)]
    paths = [folder / PATTERN.replace("*", f"{number:06}") for number in range(len(parts))]
    for number, (path, samples) in enumerate(zip(paths, parts, strict=True)):
        if number % processes.count == processes.index:
            file = open_file(path)
            if file is None or file.key != recipe.key(samples):
                make_file(path, samples, recipe)
            done(len(samples))
    processes.wait()
    files = [open_file(path) for path in paths]
    there = [file for file in files if file is not None]
    if len(there) != len(files):
        raise CheckpointError(
            str(folder),
            f"{len(there)} of {len(files)} files of examples",
            "all of them in every process",
            "Use an output folder that all machines share.",
        )
    if processes.first:
        for path in set(folder.glob(PATTERN)) - set(paths):  # of a larger data set
            path.unlink()
    return there
