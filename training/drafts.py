"""Turn samples into examples: decode them in threads, and encode pictures of one size together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..adapter_models.hint import prepare_hint
from ..annotators.images import to_bytes
from .buckets import PixelSize
from .entries import IMAGE, LATENTS, TOLD_SIZES
from .framing import Framing
from .loss import Prompts
from .pictures import read_pair
from .prompts import join_rows
from .recipe import Recipe
from .samples import Sample, SampleError

# Pictures encoded together: more are not faster, and need more memory.
TOGETHER = 4
# Threads that decode pictures; more than these wait for the disk or for each other.
THREADS = min(8, os.cpu_count() or 1)


@dataclass(eq=False)
class Draft:
    """A sample that is being turned into an example.

    Attributes:
        picture: (1, 3, H, W), the size of its bucket.
        condition: Its own condition image in bytes, ready for the adapter, or None.
        captions: Its captions, as passed to the text encoder.
        framing: Its original size and crop.
        tensors: Results so far, by name.
    """

    picture: Tensor
    condition: Tensor | None
    captions: tuple[str, ...]
    framing: Framing
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def size(self) -> PixelSize:
        """Height and width in pixels."""
        return self.picture.shape[-2], self.picture.shape[-1]


def read_draft(sample: Sample, recipe: Recipe) -> Draft | SampleError:
    """Read and decode a sample, or return why it can't be used."""
    try:
        captions = tuple(map(recipe.wording.write, sample.prompts()))
        picture, condition, framing = read_pair(sample, recipe.sizes)
    except SampleError as error:
        return error
    hint = None if condition is None else _hint(condition, recipe)
    return Draft(picture, hint, captions, framing)


def _hint(images: Tensor, recipe: Recipe) -> Tensor:
    size = (images.shape[-2], images.shape[-1])
    return to_bytes(prepare_hint(images.cpu().float(), size, "crop", recipe.channels, bgr=recipe.bgr))


def encode_drafts(drafts: Sequence[Draft], recipe: Recipe) -> None:
    """Compute the tensors of drafts; one network at a time, so that each is moved to the device once."""
    groups = list(_groups(drafts))
    for group in groups:
        # Annotators first: damaged weights are found before anything is encoded.
        lacking = [draft for draft in group if draft.condition is None]
        if lacking:
            hints = _hint(recipe.annotate(torch.cat([draft.picture for draft in lacking])), recipe)
            for draft, hint in zip(lacking, hints.split(1), strict=True):
                draft.tensors[IMAGE] = hint.clone()
        for draft in group:
            if draft.condition is not None:
                draft.tensors[IMAGE] = draft.condition
    for group in groups:
        latents = recipe.latents(torch.cat([draft.picture for draft in group])).float().cpu()
        for draft, row in zip(group, latents.split(1), strict=True):
            draft.tensors[LATENTS] = row.clone()
    _encode_prompts(drafts, recipe)


def _encode_prompts(drafts: Sequence[Draft], recipe: Recipe) -> None:
    # Equal captions are encoded once per size, on which a text encoder's tensors may depend.
    made: dict[tuple[str, PixelSize], Prompts] = {}
    for draft in drafts:
        for caption in draft.captions:
            if (caption, draft.size) not in made:
                made[caption, draft.size] = recipe.prompt(caption, draft.tensors[LATENTS])
        prompts = [made[caption, draft.size] for caption in draft.captions]
        rows = {name: join_rows([prompt[name] for prompt in prompts]) for name in prompts[0]}
        rows |= {f"{TOLD_SIZES}{name}": tensor for name, tensor in recipe.size_rows(draft.framing).items()}
        draft.tensors |= {name: tensor.float().cpu() for name, tensor in rows.items()}


def _groups(drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
    """Yield drafts of one size, at most :data:`TOGETHER`, in the order of each size's first."""
    for size in dict.fromkeys(draft.size for draft in drafts):
        same = [draft for draft in drafts if draft.size == size]
        yield from (same[first : first + TOGETHER] for first in range(0, len(same), TOGETHER))


def fault(draft: Draft) -> str:
    """Return why an encoded draft can't be used; empty if it can."""
    whole = all(torch.isfinite(tensor).all() for tensor in draft.tensors.values())
    return "" if whole else "NaN in its latents or its prompt"
