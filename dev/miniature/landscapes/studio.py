"""Make landscapes with the real ComfyUI and this pack's own nodes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import CHECKPOINT, adapter_file
from ..generate import SEED, Studio
from ..host import load_pack
from . import conditions
from .paint import Painting
from .stages import SIZE

WEIGHTS = Path(__file__).resolve().parent / "weights"
BATCH = 32
PEN = 1.5


def exact_hint(kind: str, painted: Painting) -> Tensor:
    """Return the exact condition of `sketch`, `color`, `seg` or `depth` as an IMAGE (B, 128, 128, 3)."""
    if kind == "sketch":
        hint = conditions.sketch(painted.region, SIZE, PEN).expand(-1, 3, -1, -1)
    elif kind == "color":
        hint = conditions.palette(painted.picture)
    else:
        hint = (conditions.segmentation if kind == "seg" else conditions.depth)(painted.region)
    return hint.movedim(1, 3).contiguous()


class LandscapeStudio(Studio):
    """The landscapes' model loaded in ComfyUI.

    Args:
        comfyui: ComfyUI's folder, or None for the variable COMFYUI_PATH.
        weights: folder with the checkpoint and the adapters.
        checkpoint: name of the checkpoint.
    """

    def __init__(self, comfyui: str | None, weights: Path = WEIGHTS, checkpoint: str = CHECKPOINT) -> None:
        super().__init__(comfyui, weights, checkpoint)
        load_pack()
        self._apply = importlib.import_module("t2i_adapter_pack.nodes.apply").ApplyT2IAdapter
        self._wrap = importlib.import_module("t2i_adapter_pack.nodes.loading.adapters").wrap_adapter

    @torch.inference_mode()
    def draw(
        self, texts: list[str], hints: dict[str, Tensor] | None = None, strength: float = 1.0, seed: int = SEED
    ) -> Tensor:
        """Make one picture per text.

        Args:
            texts: B prompts, of the words in `captions.WORDS`.
            hints: IMAGE (B, 128, 128, 3) of each kind of adapter to apply.
            strength: of the adapters.
            seed: of the first batch; the next has the next.

        Returns:
            (B, 3, 128, 128) in [0, 1].
        """
        files = {kind: self.weights / adapter_file(kind) for kind in hints or {}}
        adapters = {kind: self._wrap(file, file.name, None, bgr=None, dtype=None) for kind, file in files.items()}
        made = []
        for number, first in enumerate(range(0, len(texts), BATCH)):
            part = slice(first, first + BATCH)
            model: Any = self.model
            for kind, adapter in adapters.items():
                model = self._apply.execute(model, adapter, hints[kind][part], strength)[0]
            latent = self.nodes.EmptyLatentImage().generate(SIZE, SIZE, len(texts[part]))[0]
            made.append(self.sample(model, seed + number, *self._prompts(texts[part]), latent))
        return torch.cat(made).movedim(3, 1).clone()

    def _prompts(self, texts: list[str]) -> tuple[list[Any], list[Any]]:
        encode = self.nodes.CLIPTextEncode().encode
        # One conditioning for the whole batch, with one row per picture: the sampler takes it as it is.
        context = torch.cat([encode(self.clip, text)[0][0][0] for text in texts])
        return [[context, {}]], encode(self.clip, "")[0]
