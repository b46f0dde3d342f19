"""Draw pictures in the real ComfyUI: with its loaders, text encoder, KSampler, decoder and ControlNet nodes.

The adapters are applied by ComfyUI core, not by this pack, so that the measurement concerns the files only.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from . import conditions, prompts
from .checkpoint import CHECKPOINT, adapter_file
from .host import use_comfyui
from .measure import truth
from .scenes import SIZE, Scenes, distances, paint

STEPS, CFG, SAMPLER, SCHEDULER = 20, 3.0, "dpmpp_2m", "normal"
BATCH = 32
SEED = 20230216


def exact_hint(kind: str, scenes: Scenes) -> torch.Tensor:
    """Return the exact condition of `sketch`, `color` or `seg` as an IMAGE (B, 128, 128, 3)."""
    field = distances(scenes)
    if kind == "sketch":
        hint = conditions.sketch(field).expand(-1, 3, -1, -1)
    elif kind == "color":
        hint = conditions.palette(paint(scenes, field))
    else:
        hint = conditions.segmentation(scenes, field)
    return hint.permute(0, 2, 3, 1).contiguous()


class Studio:
    """The miniature loaded in ComfyUI.

    Args:
        comfyui: ComfyUI's folder; None for the variable COMFYUI_PATH.
        weights: Folder with the checkpoint and the adapters.
        checkpoint: Name of the checkpoint.
    """

    def __init__(self, comfyui: str | None, weights: Path, checkpoint: str = CHECKPOINT) -> None:
        use_comfyui(comfyui)
        import comfy.utils
        import folder_paths

        import nodes

        comfy.utils.PROGRESS_BAR_ENABLED = False
        self._load_companion()
        for folder in ("checkpoints", "controlnet"):
            folder_paths.add_model_folder_path(folder, str(weights.resolve()))
        self.nodes, self.weights = nodes, weights
        self.model, self.clip, self.vae = nodes.CheckpointLoaderSimple().load_checkpoint(checkpoint)

    @property
    def device(self) -> torch.device:
        """Where ComfyUI computes."""
        device: torch.device = self.model.load_device
        return device

    @staticmethod
    def _load_companion() -> None:
        path = Path(__file__).resolve().parent / "companion" / "__init__.py"
        spec = importlib.util.spec_from_file_location("miniature_companion", path)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))

    @staticmethod
    def write_into(folder: Path) -> None:
        """Set ComfyUI's output folder."""
        import folder_paths

        folder.mkdir(parents=True, exist_ok=True)
        folder_paths.set_output_directory(str(folder.resolve()))

    @torch.inference_mode()
    def generate(
        self, scenes: Scenes, kind: str | None = None, strength: float = 1.0, colour_words: bool = True
    ) -> torch.Tensor:
        """Draw one picture per scene from its prompt and, with an adapter, its exact condition.

        Args:
            scenes: B scenes.
            kind: `sketch`, `color`, `seg`, or None for the prompt alone.
            strength: the adapter's weight.
            colour_words: False leaves the colour words out of the prompts.

        Returns:
            (B, 128, 128, 3) in [0, 1].
        """
        parts = (scenes.pick(slice(first, first + BATCH)) for first in range(0, len(scenes), BATCH))
        made = [self._batch(part, kind, strength, colour_words, SEED + number) for number, part in enumerate(parts)]
        return torch.cat(made).clone()

    def _batch(self, scenes: Scenes, kind: str | None, strength: float, colour_words: bool, seed: int) -> torch.Tensor:
        positive, negative = self.conditioning(scenes, colour_words)
        if kind is not None:
            net = self.nodes.ControlNetLoader().load_controlnet(adapter_file(kind))[0]
            apply = self.nodes.ControlNetApplyAdvanced().apply_controlnet
            positive, negative = apply(positive, negative, net, exact_hint(kind, scenes), strength, 0.0, 1.0)
        latent = self.nodes.EmptyLatentImage().generate(SIZE, SIZE, len(scenes))[0]
        return self.sample(self.model, seed, positive, negative, latent)

    def conditioning(self, scenes: Scenes, colour_words: bool = True) -> tuple[list[Any], list[Any]]:
        """Encode the scenes' prompts, and the empty one."""
        rows = prompts.word_rows(scenes)
        texts = prompts.texts(rows if colour_words else prompts.without_colours(rows))
        encode = self.nodes.CLIPTextEncode().encode
        # One conditioning for the whole batch, with one row per picture: the sampler takes it as it is.
        context = torch.cat([encode(self.clip, text)[0][0][0] for text in texts])
        return [[context, {}]], encode(self.clip, "")[0]

    def sample(
        self, model: Any, seed: int, positive: list[Any], negative: list[Any], latent: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Run KSampler and VAE Decode; (B, 128, 128, 3)."""
        sample = self.nodes.KSampler().sample
        out = sample(model, seed, STEPS, CFG, SAMPLER, SCHEDULER, positive, negative, latent)[0]
        return self.nodes.VAEDecode().decode(self.vae, out)[0].cpu()

    @torch.inference_mode()
    def round_trip(self, images: torch.Tensor) -> torch.Tensor:
        """Encode and decode pictures (B, H, W, 3): the upper bound of quality."""
        parts = (self.vae.decode(self.vae.encode(part)).cpu() for part in images.split(BATCH))
        return torch.cat(list(parts)).clone()

    def rows(self, scenes: Scenes) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the rows of the table: name and pictures."""
        yield "the scenes themselves", truth(scenes)
        yield "VAE round trip (the ceiling)", self.round_trip(truth(scenes))
        yield "no adapter", self.generate(scenes)
        yield "no adapter, prompt without colours", self.generate(scenes, colour_words=False)
        for kind in ("sketch", "color", "seg"):
            words = kind != "color"
            note = "" if words else ", prompt without colours"
            for strength in (0.5, 1.0):
                yield f"{kind}, weight {strength}{note}", self.generate(scenes, kind, strength, words)
