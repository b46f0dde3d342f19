"""Draw pictures in the real ComfyUI with this pack's nodes; existing pictures are reused."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ...miniature import checkpoint, generate, lessons, measure
from ...tasks import paths
from . import recipes
from .drawing import apply, latent_for
from .places import placed
from .variants import MINIATURE, SECOND, Variant

SECOND_FILE = "second.safetensors"


def second_model(work: Path) -> Path:
    """Return the checkpoint of the second UNet; train it first if it is missing."""
    file = work / SECOND_FILE
    if not file.is_file():
        command = [
            sys.executable,
            str(paths.ROOT / "dev" / "miniature"),
            "train",
            "--only",
            "second",
            "--weights",
            str(work),
        ]
        subprocess.run(command, check=True)
    return file


def digest(file: Path) -> str:
    """Return a short digest of a file."""
    return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Workshop:
    """The folders, and the sizes of the experiment.

    Attributes:
        work: Folder of trained adapters and pictures.
        scenes: Held-out scenes per variant.
        steps: Training steps of each adapter.
    """

    work: Path
    scenes: int
    steps: int
    _studios: dict[str, Any] = field(default_factory=dict, compare=False)
    _lessons: dict[tuple[str, int, int], lessons.Lessons] = field(default_factory=dict, compare=False)
    _digests: dict[Path, str] = field(default_factory=dict, compare=False)

    @property
    def base(self) -> Path:
        """ComfyUI's base directory."""
        return self.work / "comfyui"

    @property
    def runs(self) -> Path:
        """The trainer's folder of runs."""
        from ....nodes.training.run import RUNS

        return self.base / "output" / RUNS

    def start(self) -> None:
        """Import ComfyUI, with its own files in the work folder."""
        generate.use_comfyui(os.environ.get("COMFYUI_PATH"))
        from comfy.cli_args import args

        args.base_directory = str(self.base)
        if args.cpu:
            torch.set_num_threads(1)  # too small for more; --workers uses the other cores
        self.runs.mkdir(parents=True, exist_ok=True)
        import folder_paths

        for folder in (paths.WEIGHTS, self.runs):
            folder_paths.add_model_folder_path("controlnet", str(folder))

    def studio(self, model: str) -> Any:
        """Return a model in ComfyUI, loaded once."""
        if model not in self._studios:
            folder, name = (self.work, SECOND_FILE) if model == SECOND else (paths.WEIGHTS, checkpoint.CHECKPOINT)
            self._studios[model] = generate.Studio(os.environ.get("COMFYUI_PATH"), folder, name)
        return self._studios[model]

    def checkpoint(self, model: str) -> Path:
        """Return a model's file."""
        return self.work / SECOND_FILE if model == SECOND else paths.WEIGHTS / checkpoint.CHECKPOINT

    def adapter(self, name: str) -> Path:
        """Return an adapter's file relative to the folder that ComfyUI finds it in."""
        recipe = recipes.recipe_named(name)
        if recipe is None:
            return Path(checkpoint.adapter_file(name))
        return recipes.trained_file(self.run_name(recipe), self.steps)

    def run_name(self, recipe: recipes.Recipe) -> str:
        """Return the training run of a recipe."""
        return recipe.run_name(self.steps, self._digest(paths.WEIGHTS / checkpoint.CHECKPOINT))

    def train(self, recipe: recipes.Recipe) -> None:
        """Train an adapter, unless it is there."""
        if (self.runs / self.adapter(recipe.name)).is_file():
            return
        studio, wanted = self.studio(MINIATURE), recipe.lessons(self.steps)
        if wanted not in self._lessons:
            # The last ones alone: two kinds at once take too much memory.
            self._lessons.clear()
            self._lessons[wanted] = lessons.lessons(studio, *wanted)
        recipes.train(studio, recipe, self._lessons[wanted], self.steps, self.run_name(recipe))

    def folder(self, variant: Variant) -> Path:
        """Return the folder of a variant's pictures: another one for other weights, scenes or sampling."""
        files = [self.checkpoint(variant.model), *(self._adapter_file(use.adapter) for use in variant.uses)]
        said = (
            astuple(variant)[1:],
            [self._digest(file) for file in files],
            self.scenes,
            (generate.STEPS, generate.CFG, generate.SAMPLER, generate.SCHEDULER, generate.SEED, generate.BATCH),
        )
        key = hashlib.blake2b(repr(said).encode(), digest_size=8).hexdigest()
        return self.work / "pictures" / f"{variant.name.replace(' ', '-').replace(',', '')}-{key}"

    def _adapter_file(self, name: str) -> Path:
        return (paths.WEIGHTS if recipes.recipe_named(name) is None else self.runs) / self.adapter(name)

    def _digest(self, file: Path) -> str:
        if file not in self._digests:
            self._digests[file] = digest(file)
        return self._digests[file]

    def batches(self) -> Sequence[slice]:
        """Return the scenes of each batch."""
        starts = range(0, self.scenes, generate.BATCH)
        return [slice(start, min(start + generate.BATCH, self.scenes)) for start in starts]

    def complete(self, variant: Variant) -> bool:
        """Tell whether everything that a variant needs, and every picture of it, is there."""
        files = [self.checkpoint(variant.model), *(self._adapter_file(use.adapter) for use in variant.uses)]
        return all(file.is_file() for file in files) and all(
            self._strip(variant, number).is_file() for number in range(len(self.batches()))
        )

    def _strip(self, variant: Variant, number: int) -> Path:
        return self.folder(variant) / f"{number:03}.png"

    def draw(self, variant: Variant, batch_done: Callable[[], None] = lambda: None) -> None:
        """Draw the batches of a variant that are not there yet."""
        for number, batch in enumerate(self.batches()):
            file = self._strip(variant, number)
            if file.is_file():
                continue
            pictures = self._batch(variant, measure.held_out(self.scenes).pick(batch), generate.SEED + number)
            save_strip(pictures, file)
            batch_done()

    def pictures(self, variant: Variant) -> Tensor:
        """Read a variant's pictures: (N, 128, 128, 3) in [0, 1]."""
        return torch.cat([load_strip(self._strip(variant, number)) for number in range(len(self.batches()))])

    @torch.inference_mode()
    def _batch(self, variant: Variant, scenes: Any, seed: int) -> Tensor:
        studio = self.studio(variant.model)
        if variant.start == "truth":
            return studio.round_trip(measure.truth(scenes))
        model = studio.model
        for use in variant.uses:
            model = apply(model, use, self.adapter(use.adapter), scenes)
        positive, negative = studio.conditioning(scenes, variant.colours)
        with contextlib.ExitStack() as stack:
            for place in {recipe.place for use in variant.uses if (recipe := recipes.recipe_named(use.adapter))}:
                stack.enter_context(placed(model, place))
            return studio.sample(model, seed, positive, negative, latent_for(studio, variant, scenes))


def save_strip(pictures: Tensor, file: Path) -> None:
    """Write pictures (B, H, W, 3) below each other; a file is whole or not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = (pictures.clamp(0, 1) * 255).round().byte().flatten(0, 1).numpy()
    fresh = file.with_suffix(".part")
    Image.fromarray(pixels).save(fresh, "PNG")
    fresh.replace(file)


def load_strip(file: Path) -> Tensor:
    """Read such a file: (B, 128, 128, 3) in [0, 1]."""
    with Image.open(file) as strip:
        pixels = torch.frombuffer(bytearray(strip.convert("RGB").tobytes()), dtype=torch.uint8)
    return pixels.view(-1, generate.SIZE, generate.SIZE, 3) / 255.0
