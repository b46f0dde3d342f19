"""How samples become examples, and the keys that change with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .buckets import PixelSize
from .loss import Prompts
from .samples import Sample

# Raised when older files can't be read, or their samples are read otherwise now.
CACHE_VERSION = 2


def digest(facts: object) -> str:
    """Return a short text that differs for other facts, as JSON has them."""
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Wording:
    """How a caption becomes what the text encoder is given.

    Attributes:
        name: Differs for every way.
        write: A caption -> a prompt in the text encoder's own syntax.
    """

    name: str
    write: Callable[[str], str]


AS_WRITTEN = Wording("as written", str)


@dataclass(frozen=True)
class Recipe:
    """How examples are made of samples.

    Attributes:
        sizes: Of the buckets.
        channels: Image channels of the adapter.
        bgr: The adapter takes red and blue swapped.
        latents: A picture (1, 3, H, W) in [0, 1] -> (1, C, h, w), as the denoiser was trained on.
        prompt: (caption, latents) -> one row each.
        annotate: A picture -> its condition image (1, 3, H, W), for samples without a map.
        about: All that decides what the others give, as JSON has it.
        wording: How captions become prompts.
    """

    sizes: tuple[PixelSize, ...]
    channels: int
    bgr: bool
    latents: Callable[[Tensor], Tensor]
    prompt: Callable[[str, Tensor], Prompts]
    annotate: Callable[[Tensor], Tensor]
    about: Mapping[str, Any]
    wording: Wording = AS_WRITTEN

    def key(self, samples: Sequence[Sample]) -> str:
        """Return a short text that differs for other files or another way to make examples of them."""
        stamps = [[sample.name, sample.stamp] for sample in samples]
        return digest([CACHE_VERSION, self._all, self.wording.name, stamps])

    @property
    def _all(self) -> list[Any]:
        return [dict(self.about), self.sizes, self.channels, self.bgr]

    # Without the wording: captions that it leaves as they are give the same examples.
    def fingerprint(self, contents: Sequence[str]) -> str:
        """Return a short text that differs for other contents or another way to make examples of them."""
        return digest([self._all, list(contents)])
