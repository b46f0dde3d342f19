"""The held-out loss: the loss on examples that never train, with noise and timesteps that never change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch

from ..common.fingerprints import joint_fingerprint
from .errors import TrainingError
from .in_memory_dataset import Draw, Examples, TrainingSet, seeded
from .loop import AfterStep, Trainer
from .loss import Batch, adapter_loss
from .samples import Listing
from .timesteps import spread_timesteps

# Timesteps at which each held-out example is measured, in one forward pass.
TIMESTEPS_EACH = 4
# Entry of a step in the log.
HELD_OUT_LOSS = "held_out_loss"
# Differs from all other uses of the same digests.
_PURPOSE = "held out"


class CountedExamples(Examples, Protocol):
    """Examples of a known number."""

    def __len__(self) -> int: ...


def is_held_out(key: str, share: float) -> bool:
    """Return whether an example is held out.

    Args:
        key: What identifies the example: its name, or a digest of its contents.
        share: Fraction of all examples that is held out.

    Returns:
        The answer, which depends on nothing else: it stays the same when examples are added, in every run and process.
    """
    digest = hashlib.blake2b(f"{_PURPOSE}/{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * 2**64


def split_listing(listing: Listing, share: float) -> tuple[Listing, Listing]:
    """Split samples by their names.

    Args:
        listing: The samples.
        share: Fraction that is held out; 0 for none.

    Returns:
        The samples to train on, with all skipped files, and the held-out ones.

    Raises:
        TrainingError: One of the two would be empty.
    """
    held_out = [is_held_out(sample.name, share) for sample in listing.samples]
    _check_split(held_out, share)
    both = list(zip(listing.samples, held_out, strict=True))
    own = replace(listing, samples=tuple(sample for sample, held in both if not held))
    return own, Listing(tuple(sample for sample, held in both if held))


def split_set(data: TrainingSet, share: float) -> tuple[TrainingSet, TrainingSet | None, int]:
    """Split examples in memory by their contents.

    Args:
        data: The examples.
        share: Fraction that is held out; 0 for none.

    Returns:
        The examples to train on, the held-out ones (None for none), and the index of the first of these (else 0).

    Raises:
        TrainingError: One of the two would be empty.
    """
    if share == 0:
        return data, None, 0
    rows = zip(data.latents, data.images, strict=True)
    held_out = [is_held_out(joint_fingerprint(row), share) for row in rows]
    _check_split(held_out, share)
    return (
        _chosen(data, [index for index, held in enumerate(held_out) if not held]),
        _chosen(data, [index for index, held in enumerate(held_out) if held]),
        held_out.index(True),
    )


def _chosen(data: TrainingSet, places: list[int]) -> TrainingSet:
    index = torch.tensor(places)
    prompts = {name: rows if rows.shape[0] == 1 else rows[index] for name, rows in data.prompts.items()}
    return replace(data, latents=data.latents[index], images=data.images[index], prompts=prompts)


def _check_split(held_out: list[bool], share: float) -> None:
    count = sum(held_out)
    if share > 0 and held_out and count in (0, len(held_out)):
        less = count == 0
        raise TrainingError(
            "held_out_share",
            f"{share}, which holds out {'none' if less else 'all'} of {len(held_out)} examples",
            "some to hold out and some to train on",
            f"{'Raise' if less else 'Lower'} held_out_share, or set it to 0.",
            says=f"The held-out share is too {'small' if less else 'large'} for this data set.",
        )


def held_out_loss(trainer: Trainer, data: CountedExamples) -> float:
    """Measure the loss of the current result on held-out examples.

    Uses neither the run's random numbers nor torch's, and changes nothing of the trainer. All processes of the run must
    call it together; each measures a share.

    Args:
        trainer: The trainer.
        data: The held-out examples.

    Returns:
        The mean loss, at :data:`TIMESTEPS_EACH` timesteps of each example from the distribution that the run trains on.
        An example always has the same noise and timesteps, which follow from its contents, and its first caption.
    """
    processes, device = trainer.processes, trainer.device
    once = Draw(batch_size=1, timesteps=trainer.settings.timesteps, first_captions=True)
    losses = torch.zeros(2, device=device)
    for number in range(processes.index, len(data), processes.count):
        batch = _at_fixed_times(data.batch(once, number), trainer.settings.timesteps).to(device)
        with torch.no_grad():
            losses[0] += adapter_loss(trainer.features, trainer.denoiser, batch)
        losses[1] += 1
    total, count = processes.mean([losses])[0]
    return float(total / count)


def _at_fixed_times(example: Batch, timesteps: str) -> Batch:
    """Repeat one example at several timesteps, with the noise that belongs to it."""
    key = joint_fingerprint([example.latents, example.images])
    generator = seeded(0, f"{_PURPOSE} {key}", 0)
    count = TIMESTEPS_EACH
    noise = torch.randn((count, *example.latents.shape[1:]), generator=generator)
    return Batch(
        example.latents.repeat(count, 1, 1, 1),
        example.images.repeat(count, 1, 1, 1),
        {name: rows.repeat(count, *(1,) * (rows.ndim - 1)) for name, rows in example.prompts.items()},
        noise.to(example.latents),
        spread_timesteps(timesteps, count, generator),
    )


def at_intervals(every: int, last: int, call: Callable[[int], None]) -> AfterStep:
    """Return a function to call after each step, which calls another at intervals and after the last step.

    Args:
        every: Steps between calls; 0 for the last step alone.
        last: Number of the last step.
        call: Takes the steps made.
    """

    def after_step(step: int, _loss: float) -> None:
        if step == last or (every and step % every == 0):
            call(step)

    return after_step
