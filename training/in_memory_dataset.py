"""Training examples in memory (latents, condition images, prompts), and the batches drawn from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..adapter_models.config import AdapterConfig
from ..adapter_models.hint import check_hint, pad_to_cells, prepare_hint
from ..common.fingerprints import joint_fingerprint
from .errors import TrainingError
from .loss import Batch, Prompts, replace_rows
from .timesteps import sample_timesteps


@dataclass(frozen=True)
class Draw:
    """How batches are drawn.

    Attributes:
        batch_size: Examples per batch, for all processes together.
        timesteps: A name of :data:`.timesteps.TIMESTEP_SAMPLINGS`.
        prompt_dropout: Fraction of examples whose prompt is replaced by the empty one.
        condition_dropout: Fraction of examples whose condition image is replaced by a black one.
        seed: Seed of all randomness.
        process: Index of the requested share of the batch, from 0.
        processes: Number of equal shares.
        first_captions: Take the first of a picture's captions in place of a drawn one.
    """

    batch_size: int
    timesteps: str = "cubic"
    prompt_dropout: float = 0.0
    condition_dropout: float = 0.0
    seed: int = 0
    process: int = 0
    processes: int = 1
    first_captions: bool = False

    @property
    def share(self) -> slice:
        """The rows of the requested share."""
        size = self.batch_size // self.processes
        return slice(self.process * size, (self.process + 1) * size)


class Examples(Protocol):
    """The examples that a trainer draws batches from."""

    @property
    def empty(self) -> Prompts | None:
        """The empty prompt, one row of each tensor; None if unknown."""

    def batch(self, draw: Draw, number: int) -> Batch:
        """Draw a share of a batch. It depends only on the arguments, so an interrupted run can be resumed."""

    def fingerprint(self) -> str:
        """Return a digest of the examples."""


@dataclass(frozen=True)
class TrainingSet:
    """Examples in memory; create with :func:`training_set`.

    Attributes:
        latents: (N, C, h, w).
        images: (N, image channels, H, W), ready for the adapter.
        prompts: N rows of each tensor, or one row for all examples.
        empty: The empty prompt, one row of each tensor; None if unknown.
    """

    latents: Tensor
    images: Tensor
    prompts: Prompts
    empty: Prompts | None

    def __len__(self) -> int:
        return self.latents.shape[0]

    def batch(self, draw: Draw, number: int) -> Batch:
        """Draw a batch. It depends only on the arguments, so an interrupted run can be resumed.

        Args:
            draw: How batches are drawn.
            number: Index of the batch in the run, from 0. Every example is drawn once before any is drawn again.

        Returns:
            The batch, on the examples' device.
        """
        index = torch.tensor(in_rounds(draw, len(self), number)[draw.share])
        prompts = {name: rows[index % rows.shape[0]] for name, rows in self.prompts.items()}
        return draw_batch(draw, number, (self.latents[index], self.images[index], prompts), self.empty)

    def fingerprint(self) -> str:
        """Return a digest of the examples."""
        prompts = [self.prompts[name] for name in sorted(self.prompts)]
        empty = [self.empty[name] for name in sorted(self.empty)] if self.empty is not None else []
        return joint_fingerprint([self.latents, self.images, *prompts, *empty])


def in_rounds(draw: Draw, count: int, number: int) -> list[int]:
    """Return the indices of a batch's examples: each is drawn once before any is drawn again.

    Args:
        draw: How batches are drawn; the indices are for all processes together.
        count: Number of examples.
        number: Index of the batch, from 0.
    """
    first = number * draw.batch_size
    places = range(first, first + draw.batch_size)
    rounds = sorted({place // count for place in places})
    order = {one: shuffled(draw, count, "order", one) for one in rounds}
    return [int(order[place // count][place % count]) for place in places]


def shuffled(draw: Draw, count: int, purpose: str, number: int) -> Tensor:
    """Return all indices in a random order, the one of a round.

    Args:
        draw: How batches are drawn.
        count: Number of examples.
        purpose: Distinguishes several orders from one seed.
        number: Index of the round, from 0.
    """
    return torch.randperm(count, generator=seeded(draw.seed, purpose, number))


def draw_batch(draw: Draw, number: int, rows: tuple[Tensor, Tensor, Prompts], empty: Prompts | None) -> Batch:
    """Add noise, timesteps and dropout to examples.

    Args:
        draw: How batches are drawn.
        number: Index of the batch in the run, from 0.
        rows: The share's latents, condition images and prompts.
        empty: The empty prompt, one row of each tensor; None if unknown.

    Returns:
        The share of the batch, with the noise and timesteps that it has in the whole batch.
    """
    latents, images, prompts = rows
    generator, share = seeded(draw.seed, "batch", number), draw.share
    # One call per quantity, always in this order, so that one setting does not change the others' numbers.
    timesteps = sample_timesteps(draw.timesteps, draw.batch_size, generator)[share]
    noise = torch.randn((draw.batch_size, *latents.shape[1:]), generator=generator)[share].to(latents)
    no_prompt = torch.rand(draw.batch_size, generator=generator)[share] < draw.prompt_dropout
    no_image = torch.rand(draw.batch_size, generator=generator)[share] < draw.condition_dropout
    if empty is not None:
        prompts = {name: replace_rows(rows, no_prompt, empty[name]) for name, rows in prompts.items()}
    return Batch(latents, replace_rows(images, no_image, torch.zeros_like(images[:1])), prompts, noise, timesteps)


def seeded(seed: int, purpose: str, number: int) -> torch.Generator:
    """Return a separate generator, on the CPU, for each seed, purpose and number."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{number}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def training_set(
    latents: Tensor,
    images: Tensor,
    prompts: Prompts,
    config: AdapterConfig,
    *,
    cell: int = 8,
    empty: Prompts | None = None,
    bgr: bool = False,
) -> TrainingSet:
    """Check examples and prepare them for training.

    Args:
        latents: (N, C, h, w) at the denoiser's scale.
        images: (N, 1 to 4, h · cell, w · cell) in [0, 1].
        prompts: N rows of each tensor, or one row for all examples.
        config: The adapter's config.
        cell: Size of a latent cell in pixels.
        empty: The empty prompt, one row of each tensor.
        bgr: Whether the adapter takes BGR.

    Returns:
        The examples, copied in fp32.

    Raises:
        TrainingError: There are no examples, counts or sizes don't match, or values are NaN.
        HintError: The condition images are not pictures in [0, 1].
    """
    _check_latents(latents)
    size = (latents.shape[-2] * cell, latents.shape[-1] * cell)
    _check_images(latents.shape[0], images, size)
    _check_prompts(latents.shape[0], prompts, empty)
    hints = prepare_hint(images.float(), size, "stretch", config.image_channels, bgr=bgr)
    return TrainingSet(
        latents.to(torch.float32, copy=True),
        pad_to_cells(hints, config.unshuffle).clone(),
        {name: rows.to(torch.float32, copy=True) for name, rows in prompts.items()},
        None if empty is None else {name: rows.to(torch.float32, copy=True) for name, rows in empty.items()},
    )


def _check_latents(latents: Tensor) -> None:
    if latents.ndim != 4 or 0 in latents.shape:
        raise TrainingError(
            "latents",
            f"shape {tuple(latents.shape)}",
            "at least one latent (N, C, h, w)",
            "Encode pictures first.",
            says="There are no latents to train on.",
        )
    if not torch.isfinite(latents).all():
        raise TrainingError(
            "latents",
            "NaN or infinite numbers",
            "finite ones",
            "Encode the pictures again in fp32.",
            says="The latents have NaN or infinite values.",
        )


def _check_images(count: int, images: Tensor, size: tuple[int, int]) -> None:
    if images.ndim == 4 and images.shape[0] == 0:
        raise TrainingError(
            "images",
            "no condition images",
            f"{count}, one per latent",
            "Give each latent its condition image.",
            says="There are no condition images.",
        )
    check_hint("images", images)
    if images.shape[0] != count:
        raise TrainingError(
            "images",
            f"{images.shape[0]} condition images for {count} latents",
            "one condition image per latent, in the same order",
            "Load both from lists of equal length.",
            says="The numbers of condition images and latents differ.",
        )
    if tuple(images.shape[-2:]) != size:
        raise TrainingError(
            "images",
            f"condition images of {images.shape[-1]}×{images.shape[-2]} pixels",
            f"{size[1]}×{size[0]}, the size of the pictures that the latents were encoded from",
            "Scale both to one size before encoding and annotating.",
            says="The condition images and the encoded pictures differ in size.",
        )


def _check_prompts(count: int, prompts: Prompts, empty: Prompts | None) -> None:
    for name, rows in prompts.items():
        if rows.shape[0] not in (1, count):
            raise TrainingError(
                "positive",
                f"{rows.shape[0]} prompts for {count} latents",
                "one prompt per latent, or one for all",
                "Give each picture its prompt, in the same order.",
                says="The numbers of prompts and latents differ.",
            )
        nothing = () if empty is None or name not in empty else (empty[name],)
        if not all(torch.isfinite(one).all() for one in (rows, *nothing)):
            raise TrainingError(
                "positive",
                f"NaN in {name}",
                "finite embeddings",
                "Use another text encoder.",
                says="A prompt has NaN or infinite values.",
            )
        if empty is not None and (name not in empty or empty[name].shape != (1, *rows.shape[1:])):
            raise TrainingError(
                "empty",
                f"{name} of another shape than that of the prompts",
                f"one row of {tuple(rows.shape[1:])}",
                "Encode the empty prompt with the same text encoder.",
                says="The empty prompt and the prompts come from different text encoders.",
            )
