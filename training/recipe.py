"""How samples become examples, and the keys that change with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .buckets import PixelSize
from .framing import Framing
from .loss import Prompts
from .samples import Sample

# Increase it when files of older versions can't be read, or their samples are read differently.
CACHE_VERSION = 2


def digest(facts: object) -> str:
    """Return a digest of JSON values."""
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Wording:
    """How a caption becomes the text encoder's input.

    Attributes:
        name: Name of the method.
        write: Caption -> prompt in the text encoder's syntax.
    """

    name: str
    write: Callable[[str], str]


AS_WRITTEN = Wording("as written", str)


@dataclass(frozen=True)
class Recipe:
    """How samples become examples.

    Attributes:
        sizes: Sizes of the buckets.
        channels: The adapter's image channels.
        bgr: The adapter takes red and blue swapped.
        latents: Picture (1, 3, H, W) in [0, 1] -> latents (1, C, h, w) at the denoiser's scale.
        prompt: (caption, latents) -> one row of each prompt tensor.
        annotate: Picture -> condition image (1, 3, H, W), for samples without a map.
        info: JSON values that determine the results of these functions.
        wording: How captions become prompts.
        size_rows: Framing -> the last columns (1, width) of prompt tensors that tell the picture's sizes, by name.
    """

    sizes: tuple[PixelSize, ...]
    channels: int
    bgr: bool
    latents: Callable[[Tensor], Tensor]
    prompt: Callable[[str, Tensor], Prompts]
    annotate: Callable[[Tensor], Tensor]
    info: Mapping[str, Any]
    wording: Wording = AS_WRITTEN
    size_rows: Callable[[Framing], Prompts] = lambda framing: {}

    def key(self, samples: Sequence[Sample]) -> str:
        """Return a digest of the recipe and of the samples' names, sizes and times."""
        stamps = [[sample.name, sample.stamp] for sample in samples]
        return digest([CACHE_VERSION, self._all, self.wording.name, stamps])

    @property
    def _all(self) -> list[Any]:
        return [dict(self.info), self.sizes, self.channels, self.bgr]

    # Excludes the wording: captions that it leaves unchanged give equal examples.
    def fingerprint(self, contents: Sequence[str]) -> str:
        """Return a digest of the recipe and of the samples' contents."""
        return digest([self._all, list(contents)])
