"""Choose the samples of a data set by caption, size and number, and add mirrored copies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ..adapter_models.conditions import Condition
from .errors import TrainingError
from .grouping import MAYBE_A_MAP
from .parts import Listing, Sample, SampleError, Skipped, Written
from .pictures import size_of


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the user chooses of a data set.

    Attributes:
        caption: Caption of all pictures in place of their own; None for their own.
        caption_from_name: Pictures without a caption take their file's name.
        min_size: Shortest allowed side of a picture in pixels; 0 for any.
        max_samples: Largest number of samples; None for all.
    """

    caption: str | None = None
    caption_from_name: bool = False
    min_size: int = 0
    max_samples: int | None = None


def select(listing: Listing, selection: Selection) -> Listing:
    """Return the chosen samples, in the order of the data set.

    The samples that ``max_samples`` keeps follow from their names: a larger number only adds some.

    Args:
        listing: The data set.
        selection: What to choose.
    """
    samples = [_captioned(sample, selection) for sample in listing.samples]
    small = dict(_too_small(samples, selection.min_size)) if selection.min_size else {}
    samples = [sample for number, sample in enumerate(samples) if number not in small]
    if selection.max_samples is not None:
        places = sorted(range(len(samples)), key=lambda place: (_lot(samples[place]), place))
        samples = [samples[place] for place in sorted(places[: selection.max_samples])]
    return Listing(tuple(samples), (*listing.skipped, *small.values()))


def _captioned(sample: Sample, selection: Selection) -> Sample:
    # What is likely a map stays without a caption: it is then named, not trained on.
    if sample.caption is None and sample.lacking.startswith(MAYBE_A_MAP):
        return sample
    if selection.caption is not None:
        return replace(sample, caption=Written("caption", (selection.caption,)))
    if selection.caption_from_name and sample.caption is None:
        words = PurePosixPath(sample.name).name.replace("_", " ").replace("-", " ").split()
        return replace(sample, caption=Written(f"the name of {sample.picture.name}", (" ".join(words),)))
    return sample


def _too_small(samples: list[Sample], least: int) -> Iterator[tuple[int, Skipped]]:
    for number, sample in enumerate(samples):
        try:
            height, width = size_of(sample.picture)
        except SampleError:
            continue  # named with its reason when it is read
        if min(height, width) < least:
            yield number, Skipped(sample.name, f"a picture of {width}×{height} pixels, of at least {least} asked for")


def _lot(sample: Sample) -> bytes:
    return hashlib.blake2b(sample.name.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def with_mirrored(listing: Listing) -> Listing:
    """Add a mirrored copy of each sample."""
    copies = (replace(sample, name=f"{sample.name}, mirrored", mirrored=True) for sample in listing.samples)
    pairs = zip(listing.samples, copies, strict=True)
    return replace(listing, samples=tuple(one for pair in pairs for one in pair))


def check_mirrored(listing: Listing, condition: Condition | None) -> None:
    """Check that mirrored condition maps keep their meaning.

    Args:
        listing: The chosen samples.
        condition: What the maps show; None if unknown.

    Raises:
        TrainingError: They don't, as in poses, and a mirrored sample has a map of its own.
    """
    own = next((one for one in listing.samples if one.mirrored and one.condition is not None), None)
    if condition is not None and condition.sided and own is not None and own.condition is not None:
        raise TrainingError(
            "flip",
            f"maps of {condition.name}, such as {own.condition.name}",
            "maps that mean the same when they are mirrored",
            "Train without mirrored copies, or remove the maps: an annotator then draws each with the right colours.",
            says=f"Mirrored maps of {condition.name} would swap left and right limbs.",
        )
