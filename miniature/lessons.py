"""What an adapter of the miniature learns from, as ComfyUI's sockets carry it: the inputs of Train T2I-Adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from . import checkpoint, model, prompts, scenes, stages

if TYPE_CHECKING:
    from .generate import Studio

CHUNK = 128  # pictures at a time: what is painted in between must not weigh more than what is kept
PARTLY = 0.04  # chance of each word to be left out or made vague


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
    """Make lessons as VAE Encode and CLIP Text Encode would.

    The VAE is run at its own narrow width, which gives the same latents as ComfyUI's, padded with zeros, at a seventh
    of the work. Sketches have pens of several widths, palettes are of two kinds, and some prompts name no colours, as
    `stages.ADAPTERS` has it. None is empty: Train T2I-Adapter drops whole prompts itself.

    Args:
        studio: the miniature in ComfyUI.
        kind: `sketch`, `color` or `seg`.
        count: N. A palette takes 200 KB, a sketch 65 KB.
        seed: which scenes, pens and words; no held-out scene is among them.

    Returns:
        The lessons.
    """
    condition = stages.ADAPTERS[kind]
    vae = stages.loaded_vae(checkpoint.read_parts(studio.weights / checkpoint.CHECKPOINT)[0], torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    first = stages.POOL_SEED + seed * count
    latents, images, texts = [], [], []
    for numbers in torch.arange(first, first + count).split(CHUNK):
        drawn = scenes.draw_scenes(numbers)
        latents.append({"samples": stages.encode(vae, numbers).float() / model.LATENT_SCALE})
        images.append(condition.hint(drawn, generator).movedim(1, 3).contiguous())
        rows = prompts.word_rows(drawn)
        draws = torch.rand((len(drawn), rows.shape[1] + 2), generator=generator)
        texts += prompts.texts(prompts.drop_words(rows, draws, 0.0, condition.colourless, PARTLY))
    encode = studio.nodes.CLIPTextEncode().encode
    known = {text: encode(studio.clip, text)[0][0] for text in dict.fromkeys(texts)}
    return Lessons(latents, images, [known[text] for text in texts], encode(studio.clip, "")[0])
