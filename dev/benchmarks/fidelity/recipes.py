"""Adapters trained for comparisons: the table, and training with the pack's own trainer.

All have the same steps, batch, rate and seed; the rows of one comparison differ in one setting only.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...miniature import checkpoint, lessons
from .places import ENCODER, Place, placed

STEPS = 400
EXAMPLES = 2048
SAVE_EVERY = 200


@dataclass(frozen=True)
class Recipe:
    """How one adapter is trained.

    Attributes:
        name: Name in the table of variants.
        kind: Its condition: ``sketch``, ``color`` or ``seg``.
        size: ``base``, ``small`` or ``tiny``.
        timesteps: A name of :data:`...training.timesteps.TIMESTEP_SAMPLINGS`.
        place: Where its features are added, in training and in sampling.
        batch: Batch size.
        rate: The learning rate.
        ema: Decay of the average of the weights.
        prompt_dropout: Share of empty prompts.
        seed: Seed of the initial weights, the lessons and the batches.
    """

    name: str
    kind: str
    size: str = "base"
    timesteps: str = "cubic"
    place: Place = ENCODER
    batch: int = 16
    rate: float = 1e-3
    ema: float = 0.995
    prompt_dropout: float = 0.15
    seed: int = 7

    def lessons(self, steps: int) -> tuple[str, int, int]:
        """Return the arguments of `lessons.lessons`: kind, count and seed."""
        return self.kind, min(EXAMPLES, steps * self.batch), self.seed

    def run_name(self, steps: int, denoiser: str) -> str:
        """Return the name of the training run, which differs by settings and denoiser.

        Args:
            steps: Steps of the training.
            denoiser: Digest of the checkpoint's file.
        """
        said = repr((sorted(asdict(self).items()), steps, denoiser))
        return f"{self.name}-{hashlib.blake2b(said.encode(), digest_size=4).hexdigest()}"


RECIPES = (
    Recipe("color-cubic", "color"),
    Recipe("color-uniform", "color", timesteps="uniform"),
    Recipe("color-late", "color", timesteps="late"),
    Recipe("sketch-base", "sketch"),
    Recipe("sketch-small", "sketch", size="small"),
    Recipe("sketch-tiny", "sketch", size="tiny"),
    Recipe("sketch-decoder", "sketch", place=Place("decoder", encoder=False, decoder=True)),
    Recipe("sketch-both", "sketch", place=Place("both", encoder=True, decoder=True)),
)


def recipe_named(name: str) -> Recipe | None:
    """Return a row by name; None for the miniature's own adapters."""
    return next((row for row in RECIPES if row.name == name), None)


def trained_file(run_name: str, steps: int) -> Path:
    """Return the path of a run's result, relative to the trainer's folder."""
    return Path(run_name, f"{run_name}_step_{steps:08}.safetensors")


def train(studio: Any, recipe: Recipe, made: lessons.Lessons, steps: int, run_name: str) -> None:
    """Train an adapter with the pack's nodes; an interrupted run resumes.

    Args:
        studio: The miniature in ComfyUI.
        recipe: The recipe.
        made: The training data.
        steps: Number of steps.
        run_name: Name of the run's folder.
    """
    from ....nodes.train import CreateT2IAdapter
    from ....nodes.training.examples import Materials
    from ....nodes.training.run import Saving, train_adapter
    from ....training.settings import Settings

    condition = lessons.ADAPTERS[recipe.kind]
    fresh = CreateT2IAdapter.execute(
        studio.model, recipe.size, str(condition.channels), checkpoint.CONDITIONS[recipe.kind], recipe.seed
    )[0]
    settings = Settings(
        steps=steps,
        batch_size=recipe.batch,
        learning_rate=recipe.rate,
        timesteps=recipe.timesteps,
        prompt_dropout=recipe.prompt_dropout,
        ema=recipe.ema,
        seed=recipe.seed,
    )
    with placed(studio.model, recipe.place):
        train_adapter(studio.model, fresh, Materials(*made), settings, Saving(run_name, SAVE_EVERY))
