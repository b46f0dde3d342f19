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

# Increase it when entries of older versions can't be read, or samples become other examples.
CACHE_VERSION = 3
# Between the digests of the recipe and of the samples in a fingerprint.
RECIPE_MARK = ":"


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
        latents: Pictures (B, 3, H, W) in [0, 1] -> latents (B, C, h, w) at the denoiser's scale.
        prompt: (caption, latents (1, C, h, w)) -> one row of each prompt tensor.
        annotate: Pictures -> condition images (B, 3, H, W), for samples without a map.
        info: JSON values that determine latents and prompts.
        wording: How captions become prompts.
        size_rows: Framing -> the last columns (1, width) of prompt tensors that tell the picture's sizes, by name.
        annotator: JSON values that determine what ``annotate`` returns.
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
    annotator: Any = None

    @property
    def identity(self) -> str:
        """A digest of all that makes examples but the annotator; the name of its folder in a cache."""
        return digest([CACHE_VERSION, dict(self.info), self.sizes, self.channels, self.bgr])

    def key(self, content: bytes, *, own: bool) -> bytes:
        """Return the key of an entry: the digest of its content, and of the annotator if it has no map of its own."""
        if own:
            return content
        return hashlib.blake2b(content + digest(self.annotator).encode(), digest_size=len(content)).digest()

    # Excludes the wording: captions that it leaves unchanged give equal examples.
    def fingerprint(self, keys: Sequence[bytes]) -> str:
        """Return the digest of the recipe, a mark, and a digest of the entries' keys."""
        return f"{self.identity}{RECIPE_MARK}{hashlib.blake2b(b''.join(keys), digest_size=16).hexdigest()}"
