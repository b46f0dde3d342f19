"""Where features enter the UNet: the encoder, as in T2I-Adapter, or the decoder, as in the paper's ablation.

The pack's patches are unchanged; they are moved to other blocks just before each forward of the UNet. This works for
the patches of the trainer and of Apply T2I-Adapter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

INPUT, OUTPUT = "input_block_patch", "output_block_patch"


@dataclass(frozen=True)
class Place:
    """Where the features are added.

    Attributes:
        name: Its name.
        encoder: Add to the last encoder block of each size.
        decoder: Add to the first decoder block of each size.
    """

    name: str
    encoder: bool
    decoder: bool


ENCODER = Place("encoder", encoder=True, decoder=False)


@contextlib.contextmanager
def placed(model: Any, place: Place) -> Iterator[None]:
    """Have every forward of a MODEL's UNet add features at a place.

    Args:
        model: The MODEL, or another that shares its UNet.
        place: The place.

    Raises:
        RuntimeError: There was no forward, so nothing was placed.
    """
    if place == ENCODER:
        yield
        return
    seen: list[int] = []

    def rearrange(unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        seen.append(1)
        options = kwargs["transformer_options"]
        patches = dict(options.get("patches", {}))
        own = patches.get(INPUT, [])
        if place.decoder:
            patches[OUTPUT] = [*patches.get(OUTPUT, []), *(Mirrored(patch, len(unet.input_blocks)) for patch in own)]
        if not place.encoder:
            patches[INPUT] = []
        return args, {**kwargs, "transformer_options": {**options, "patches": patches}}

    hook = model.model.diffusion_model.register_forward_pre_hook(rearrange, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
    if not seen:
        raise RuntimeError(f"placed: got no forward of the UNet; expected some, to add features in its {place.name}.")


@dataclass(frozen=True)
class Mirrored:
    """Runs an encoder's patch on the decoder.

    The input of output block n is the output of block n - 1. If the encoder's block `blocks` - n is the last of its
    size, that input has the same size and width, so the mirrored features fit.

    Attributes:
        patch: (h, transformer_options) -> h.
        blocks: Number of the UNet's input blocks.
    """

    patch: Any
    blocks: int

    def __call__(self, h: Any, skip: Any, transformer_options: dict[str, Any]) -> tuple[Any, Any]:
        """Add to the input of an output block; the skip connection is unchanged."""
        number = transformer_options["block"][1]
        return self.patch(h, {**transformer_options, "block": ("input", self.blocks - number)}), skip
