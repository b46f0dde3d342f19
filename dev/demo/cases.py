"""The demo's prompts and sketches, from held-out scenes or from the user."""

import io
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps

from ..miniature import conditions, prompts, scenes

# Outlines in a real checkpoint's 512 px sketches are a few pixels wide, as PiDiNet draws them.
LINE = 3.0


@dataclass(frozen=True)
class Case:
    """One prompt and its sketch.

    Args:
        prompt: The text.
        sketch: White lines on black.
    """

    prompt: str
    sketch: Image.Image

    def png(self) -> bytes:
        """Return the sketch as the bytes of a PNG file."""
        buffer = io.BytesIO()
        self.sketch.save(buffer, "PNG")
        return buffer.getvalue()


def from_scenes(drawn: scenes.Scenes, size: int) -> list[Case]:
    """Return the prompt and the exact sketch of each scene.

    Args:
        drawn: B scenes.
        size: side of the sketch in pixels; the miniature's own is `scenes.SIZE`.
    """
    field = scenes.distances(drawn, size)
    if size != scenes.SIZE:
        # Convert distances from the miniature's pixels to this picture's.
        lines = conditions.sketch(field * (size / scenes.SIZE), LINE / 2)
    else:
        lines = conditions.sketch(field)
    texts = prompts.texts(prompts.word_rows(drawn))
    pictures = (lines[:, 0] * 255).round().to(torch.uint8).numpy()
    return [Case(text, Image.fromarray(picture)) for text, picture in zip(texts, pictures, strict=True)]


def from_file(sketch: Path, prompt: str) -> list[Case]:
    """Return the user's own case."""
    with Image.open(sketch) as picture:
        return [Case(prompt, ImageOps.exif_transpose(picture).convert("RGB"))]
