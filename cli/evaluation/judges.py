"""What measures each picture: its control, and its prompt by CLIP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...training.recipe import digest
from .controls import MEASURES_VERSION, FigureColumn, Parts, control_measure_for
from .errors import EvaluationError
from .inputs import EvaluationInput
from .storing import read_json, write_json

CLIP_SCORE = "CLIP score"
_FETCH_CLIP = (
    "Fetch it with `hf download openai/clip-vit-large-patch14 --local-dir clip-vit-large-patch14`; needed are "
    "config.json, model.safetensors, preprocessor_config.json, tokenizer.json, tokenizer_config.json, vocab.json and "
    "merges.txt."
)


@dataclass(frozen=True)
class PictureJudge:
    """A measure of single pictures.

    Attributes:
        name: Name under which its scores are kept.
        facts: JSON values that determine the scores, besides picture and input.
        columns: The columns of the table.
        score: From the input and its picture (1, 3, H, W) to what the picture adds to the sums of each column.
        explained: What the columns mean.
    """

    name: str
    facts: Mapping[str, Any]
    columns: tuple[FigureColumn, ...]
    score: Callable[[EvaluationInput, Tensor], Parts]
    explained: str

    def judge(self, one: EvaluationInput, picture: Tensor, kept: Path, drawn: str) -> None:
        """Measure a picture, unless its scores are there.

        Args:
            one: The input.
            picture: The picture (1, 3, H, W).
            kept: File of the picture's scores.
            drawn: Digest of what the picture was made from.
        """
        scores, key = read_json(kept), self.key(drawn)
        if scores.get(self.name, {}).get("key") != key:
            parts = self.score(one, picture)
            write_json(kept, {**scores, self.name: {"key": key, "parts": dict(parts)}})

    def key(self, drawn: str) -> str:
        """Return the digest of what a score depends on."""
        return digest([dict(self.facts), drawn])

    def parts(self, kept: Path, drawn: str) -> Parts:
        """Read the scores of a picture; empty if they are missing or of something else."""
        found = read_json(kept).get(self.name, {})
        parts: Parts = found.get("parts", {}) if found.get("key") == self.key(drawn) else {}
        return parts


def control_judge(condition: str, annotate: Callable[[Tensor], Tensor], facts: Mapping[str, Any]) -> PictureJudge:
    """Return the measure of how well pictures follow their maps.

    Args:
        condition: The condition.
        annotate: Draws the map (1, 3, H, W) of a picture.
        facts: JSON values that determine the annotator.
    """
    row = control_measure_for(condition)

    def on_cpu(picture: Tensor) -> Tensor:
        # Where ComfyUI keeps results on the GPU, maps read from files are still here.
        return annotate(picture).cpu()

    def score(one: EvaluationInput, picture: Tensor) -> Parts:
        # Keypose maps have one colour for many joints: those of the real picture are what is asked for.
        asked = on_cpu(one.picture()) if condition == "keypose" else one.asked()
        return row.score(asked, picture, on_cpu)

    version = {"version": MEASURES_VERSION, "condition": condition, **facts}
    return PictureJudge("control", version, row.columns, score, row.explained)


def clip_judge(folder: Path, device: torch.device) -> PictureJudge:
    """Return the measure of how well pictures follow their captions, by transformers' CLIP.

    Args:
        folder: Folder of the model, as transformers saves it.
        device: Where to compute.

    Raises:
        EvaluationError: The folder has no CLIP model.
    """
    model, processor = _load_clip(folder)
    model = model.to(device)
    # Not every tokenizer's files tell it.
    longest = model.config.text_config.max_position_embeddings

    @torch.inference_mode()
    def score(one: EvaluationInput, picture: Tensor) -> Parts:
        pixels = (picture[0].movedim(0, -1) * 255).round().byte().numpy()
        inputs = processor(
            text=[one.caption], images=[pixels], return_tensors="pt", padding=True, max_length=longest,
            truncation=True, input_data_format="channels_last",
        )  # fmt: skip
        answer = model(**inputs.to(device))
        return {CLIP_SCORE: [float((answer.image_embeds * answer.text_embeds).sum()), 1.0]}

    facts = {"clip": digest(sorted((file.name, file.stat().st_size) for file in folder.iterdir() if file.is_file()))}
    explained = "*CLIP score*: cosine of the CLIP embeddings of picture and caption, mean over pictures."
    return PictureJudge("clip", facts, (FigureColumn(CLIP_SCORE, digits=4),), score, explained)


def _load_clip(folder: Path) -> tuple[Any, Any]:
    """Return the model and its processor; see :func:`clip_judge`."""
    if not (folder / "config.json").is_file():
        raise EvaluationError(
            f"--clip-model, {folder}",
            "no config.json there",
            "a folder with a CLIP model of transformers",
            _FETCH_CLIP,
            says="This is not a folder with a CLIP model.",
        )
    from transformers import CLIPModel, CLIPProcessor

    try:
        model = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
        return model, CLIPProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise EvaluationError(
            f"--clip-model, {folder}",
            f"a model that transformers can't load ({error})",
            "a CLIP model with its tokenizer and preprocessor",
            _FETCH_CLIP,
            says="The CLIP model can't be loaded.",
        ) from error
