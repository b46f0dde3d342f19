"""What an adapter learns from in the world of landscapes, as ComfyUI's sockets carry it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import model
from ..checkpoint import CHECKPOINT, read_parts
from ..lessons import Lessons, first_seed
from ..stages import loaded_vae
from . import conditions
from .captions import Drop, captions
from .paint import Painting, paint
from .scene import draw_scenes
from .stages import CHUNK, SIZE, latents_of
from .truth import facts

if TYPE_CHECKING:
    from ..generate import Studio

STEADY = 0.5  # share of sketches that are exact
AS_TRAINED = 0.25  # share of palettes that are sampled as the published adapters' were, instead of by cell means
DROP = Drop(thing=0.25, light=0.10, everything=0.0)  # Train T2I-Adapter drops whole prompts itself
Hint = Callable[[Painting, torch.Generator], Tensor]


def sketch_hint(painted: Painting, generator: torch.Generator) -> Tensor:
    """Sketches by pens of 1 to 4 pixels, half of them by a hand that strays; (B, 1, 128, 128)."""
    count = len(painted.region)
    pen = 1.0 + 3.0 * torch.rand((count,), generator=generator).square()
    lines = conditions.sketch(painted.region, SIZE, pen)
    return conditions.by_hand(lines, conditions.Hand.draw(count, generator, STEADY))


def colour_hint(painted: Painting, generator: torch.Generator) -> Tensor:
    """Palettes; (B, 3, 128, 128)."""
    mean = torch.rand((len(painted.region), 1, 1, 1), generator=generator) >= AS_TRAINED
    picture = painted.picture
    return torch.where(mean, conditions.palette(picture), conditions.palette(picture, "as trained"))


def segment_hint(painted: Painting, _generator: torch.Generator) -> Tensor:
    """Segmentation maps; (B, 3, 128, 128)."""
    return conditions.segmentation(painted.region)


def depth_hint(painted: Painting, _generator: torch.Generator) -> Tensor:
    """Depth maps; (B, 3, 128, 128)."""
    return conditions.depth(painted.region)


HINTS: dict[str, Hint] = {"sketch": sketch_hint, "color": colour_hint, "seg": segment_hint, "depth": depth_hint}
CHANNELS = {"sketch": 1, "color": 3, "seg": 3, "depth": 3}


@torch.inference_mode()
def lessons(studio: Studio, kind: str, count: int, seed: int = 0) -> Lessons:
    """Make lessons: latents by the model's own narrow encoder, prompts by ComfyUI's CLIP Text Encode.

    Args:
        studio: the model in ComfyUI.
        kind: `sketch`, `color`, `seg` or `depth`.
        count: N. A coloured condition takes 200 KB, a sketch 65 KB.
        seed: which scenes, hands and words; no held-out scene is among them.

    Returns:
        The lessons.
    """
    generator = torch.Generator().manual_seed(seed)
    chooser = random.Random(seed)
    device = studio.device
    vae = loaded_vae(read_parts(studio.weights / CHECKPOINT)[0], device)
    latents, images, texts = [], [], []
    first = first_seed(count, seed)
    for numbers in torch.arange(first, first + count).split(CHUNK):
        scenes = draw_scenes(numbers)
        painted = paint(scenes, SIZE)
        latents.append({"samples": latents_of(vae, painted.picture.to(device)).float().cpu() / model.LATENT_SCALE})
        images.append(HINTS[kind](painted, generator).movedim(1, 3).contiguous())
        texts += captions(facts(scenes, painted.region), chooser, DROP)
    encode = studio.nodes.CLIPTextEncode().encode
    known = {text: encode(studio.clip, text)[0][0] for text in dict.fromkeys(texts)}
    return Lessons(latents, images, [known[text] for text in texts], encode(studio.clip, "")[0])
