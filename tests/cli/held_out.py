"""Held-out scenes of the miniature as a data set: pictures, captions and exact maps."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from t2i_adapter_miniature import generate, measure, prompts

WEIGHTS = Path(__file__).absolute().parents[2] / "dev" / "miniature" / "weights"


def weights(kind: str) -> Path:
    """The miniature's adapter of a kind."""
    return WEIGHTS / f"t2iadapter_{kind}_miniature.safetensors"


def save(image: torch.Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image * 255).round().byte().numpy()).save(path)


def scenes_folder(folder: Path, kind: str, count: int) -> Path:
    """Write scenes with the maps of ``sketch``, ``color`` or ``seg``; captions of palettes name no colours."""
    drawn = measure.held_out(count)
    rows = prompts.word_rows(drawn)
    texts = prompts.texts(prompts.without_colours(rows) if kind == "color" else rows)
    every = zip(measure.truth(drawn), generate.exact_hint(kind, drawn), texts, strict=True)
    for number, (picture, hint, text) in enumerate(every):
        save(picture, folder / f"{number:03}.png")
        save(hint, folder / "conditions" / f"{number:03}.png")
        (folder / f"{number:03}.txt").write_text(text)
    return folder
