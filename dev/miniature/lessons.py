"""Training data of the miniature's adapters as ComfyUI values: the inputs of Train T2I-Adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from . import conditions, model, prompts, scenes, stages
from .checkpoint import CHECKPOINT, read_parts

if TYPE_CHECKING:
    from .generate import Studio

CHUNK = 64  # pictures per chunk: intermediate pictures must not need more memory than the results
PARTLY = 0.04  # probability of each word to be dropped or made vague


Hint = Callable[[scenes.Scenes, torch.Generator], torch.Tensor]


def sketch_hint(drawn: scenes.Scenes, generator: torch.Generator) -> torch.Tensor:
    """Sketches with lines one to three pixels wide, for robustness; (B, 1, 128, 128)."""
    width = 0.5 + torch.rand((len(drawn), 1, 1, 1), generator=generator, device=drawn.seed.device)
    return conditions.sketch(scenes.distances(drawn), width)


def colour_hint(drawn: scenes.Scenes, generator: torch.Generator) -> torch.Tensor:
    """Palettes, three quarters of them cell means and one quarter the paper's bicubic samples; (B, 3, 128, 128)."""
    picture = scenes.paint(drawn, scenes.distances(drawn))
    mean = torch.rand((len(drawn), 1, 1, 1), generator=generator, device=drawn.seed.device) < 0.75
    return torch.where(mean, conditions.palette(picture), conditions.palette(picture, sampling="bicubic"))


def segment_hint(drawn: scenes.Scenes, _generator: torch.Generator) -> torch.Tensor:
    """Segmentation maps by kind; (B, 3, 128, 128)."""
    return conditions.segmentation(drawn, scenes.distances(drawn))


@dataclass(frozen=True)
class Condition:
    """One kind of adapter: its input channels, its hints, and the share of training prompts without colour words."""

    channels: int
    hint: Hint
    colourless: float


ADAPTERS: dict[str, Condition] = {
    "sketch": Condition(1, sketch_hint, 0.1),
    "color": Condition(3, colour_hint, 0.5),
    "seg": Condition(3, segment_hint, 0.1),
}


class Lessons(NamedTuple):
    """N pictures with their conditions and prompts.

    Attributes:
        latents: LATENTs, N pictures in all.
        images: IMAGEs, N condition images in all (·, 128, 128, channels of the adapter).
        positive: N prompts.
        empty: the prompt without words.
    """

    latents: list[dict[str, torch.Tensor]]
    images: list[torch.Tensor]
    positive: list[Any]
    empty: list[Any]


@torch.inference_mode()
def lessons(studio: Studio, kind: str, count: int, seed: int = 0) -> Lessons:
    """Make training data: latents by the miniature's narrow encoder, prompts by ComfyUI's CLIP Text Encode.

    Sketches have several line widths, palettes are of two kinds, and some prompts name no colours (`ADAPTERS`). No
    prompt is empty: Train T2I-Adapter drops whole prompts itself.

    Args:
        studio: the miniature in ComfyUI.
        kind: `sketch`, `color` or `seg`.
        count: N. A palette takes 200 KB, a sketch 65 KB.
        seed: Seed of scenes, line widths and words; held-out scenes are never used.

    Returns:
        The lessons.
    """
    condition = ADAPTERS[kind]
    generator = torch.Generator().manual_seed(seed)
    # ComfyUI's VAE Encode gives the same result seven times slower: its class is wider, padded with zeros.
    device = studio.device
    vae = stages.loaded_vae(read_parts(studio.weights / CHECKPOINT)[0], device)
    latents, images, texts = [], [], []
    for numbers in torch.arange(first_seed(count, seed), first_seed(count, seed) + count).split(CHUNK):
        drawn = scenes.draw_scenes(numbers)
        seen = stages.encode(vae, drawn.to(device)).float().cpu()
        latents.append({"samples": seen / model.LATENT_SCALE})
        images.append(condition.hint(drawn, generator).movedim(1, 3).contiguous())
        rows = prompts.word_rows(drawn)
        draws = torch.rand((len(drawn), rows.shape[1] + 2), generator=generator)
        texts += prompts.texts(prompts.drop_words(rows, draws, 0.0, condition.colourless, PARTLY))
    encode = studio.nodes.CLIPTextEncode().encode
    known = {text: encode(studio.clip, text)[0][0] for text in dict.fromkeys(texts)}
    return Lessons(latents, images, [known[text] for text in texts], encode(studio.clip, "")[0])


def first_seed(count: int, seed: int) -> int:
    """Return the seed of the first scene of a set of lessons."""
    return stages.POOL_SEED + seed * count
