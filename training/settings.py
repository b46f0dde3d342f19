"""The settings of a training run, and the checks on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

from .errors import TrainingError
from .in_memory_dataset import Draw
from .optimizers import OPTIMIZERS
from .schedules import LR_SCHEDULES
from .timesteps import TIMESTEP_SAMPLINGS


@dataclass(frozen=True)
class Precision:
    """The precision that the adapter computes in; its weights stay fp32.

    Attributes:
        name: Name that the user chooses.
        autocast: Type for autocast, or None for fp32.
        scaled: Whether gradients underflow in this type unless the loss is scaled.
    """

    name: str
    autocast: torch.dtype | None
    scaled: bool = False


PRECISIONS = (
    Precision("fp32", None),
    Precision("bf16", torch.bfloat16),
    Precision("fp16", torch.float16, scaled=True),
)


# Settings that may change when a run is resumed: they don't change the numbers of its steps.
FREE = ("steps", "gradient_checkpointing")


# Settings that older versions of the pack did not have: what their runs did.
LATER: Mapping[str, object] = {
    "optimizer": "adamw",
    "lr_scheduler": "constant",
    "lr_warmup_steps": 0,
    "held_out_share": 0.0,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How an adapter is trained.

    Attributes:
        steps: Total number of optimiser steps.
        batch_size: Examples per forward, for all processes together.
        learning_rate: Learning rate after the warm-up; 1e-5 in the paper.
        timesteps: A name of :data:`.timesteps.TIMESTEP_SAMPLINGS`.
        prompt_dropout: Fraction of examples that get the empty prompt.
        condition_dropout: Fraction of examples that get a black condition image.
        ema: Decay of the weights' moving average, which becomes the result; 0 for none.
        gradient_accumulation: Forwards per step.
        precision: A name of :data:`PRECISIONS`.
        seed: Seed of all randomness.
        clip: Largest norm of the gradient; larger gradients are scaled down.
        weight_decay: Weight decay of the optimizer.
        gradient_checkpointing: Recompute activations inside blocks during the backward pass instead of storing them.
            Changes memory and time, not the result.
        optimizer: A name of :data:`.optimizers.OPTIMIZERS`.
        lr_scheduler: A name of :data:`.schedules.LR_SCHEDULES`.
        lr_warmup_steps: Steps in which the learning rate rises from 0.
        held_out_share: Fraction of the examples that never train and measure the held-out loss; 0 for none.
    """

    steps: int
    batch_size: int = 1
    learning_rate: float = 1e-5
    timesteps: str = "cubic"
    prompt_dropout: float = 0.0
    condition_dropout: float = 0.0
    ema: float = 0.0
    gradient_accumulation: int = 1
    precision: str = "fp32"
    seed: int = 0
    clip: float = 1.0
    weight_decay: float = 0.01
    gradient_checkpointing: bool = False
    optimizer: str = OPTIMIZERS[0].name
    lr_scheduler: str = LR_SCHEDULES[0].name
    lr_warmup_steps: int = 0
    held_out_share: float = 0.0

    @property
    def draw(self) -> Draw:
        """How batches are drawn."""
        return Draw(self.batch_size, self.timesteps, self.prompt_dropout, self.condition_dropout, self.seed)

    @property
    def computes_in(self) -> Precision:
        """The row of :data:`PRECISIONS`."""
        return next(row for row in PRECISIONS if row.name == self.precision)

    @property
    def lasting(self) -> dict[str, object]:
        """The settings that must not change when a run is resumed: all except :data:`FREE`.

        The number of steps is one of them if the learning rate depends on it.
        """
        ends = any(row.ends for row in LR_SCHEDULES if row.name == self.lr_scheduler)
        free = set(FREE) - ({"steps"} if ends else set())
        return {name: value for name, value in asdict(self).items() if name not in free}

    @property
    def record(self) -> dict[str, object]:
        """The settings for an adapter's file: without later ones that have their default."""
        return {name: value for name, value in asdict(self).items() if LATER.get(name) != value}

    def check(self) -> None:
        """Check every setting.

        Raises:
            TrainingError: A setting is out of range; names the first one.
        """
        for rule in RULES:
            value = getattr(self, rule.name)
            types = (int, float) if rule.type is float else (rule.type,)
            if type(value) not in types or not rule.holds(value):
                raise TrainingError(
                    rule.name,
                    repr(value),
                    rule.expected,
                    f"Change {rule.name}.",
                    says=f"The setting {rule.name} must be {rule.expected}.",
                )
        if self.lr_warmup_steps >= self.steps:
            raise TrainingError(
                "lr_warmup_steps",
                f"{self.lr_warmup_steps} of {self.steps} steps",
                "fewer than steps",
                "Lower lr_warmup_steps, or raise steps.",
                says="The learning rate's warm-up is longer than the run.",
            )


@dataclass(frozen=True)
class Rule:
    """The check of one setting.

    Attributes:
        name: Name of the setting.
        type: Its type; a float may also be an int.
        holds: Whether a value is in range; false for NaN.
        expected: The range in words.
    """

    name: str
    type: type
    holds: Callable[..., bool]
    expected: str


def _among(name: str, names: Sequence[str]) -> Rule:
    return Rule(name, str, lambda value: value in names, f"one of {', '.join(names)}")


RULES = (
    Rule("steps", int, lambda n: n >= 1, "a whole number of at least 1"),
    Rule("batch_size", int, lambda n: n >= 1, "a whole number of at least 1"),
    Rule("gradient_accumulation", int, lambda n: n >= 1, "a whole number of at least 1"),
    Rule("learning_rate", float, lambda x: 0 < x < math.inf, "a number above 0"),
    Rule("prompt_dropout", float, lambda x: 0 <= x <= 1, "a part from 0 to 1"),
    Rule("condition_dropout", float, lambda x: 0 <= x <= 1, "a part from 0 to 1"),
    Rule("ema", float, lambda x: 0 <= x < 1, "0 for none, or a decay below 1 such as 0.999"),
    Rule("seed", int, lambda n: True, "a whole number"),
    Rule("gradient_checkpointing", bool, lambda on: True, "on or off"),
    Rule("lr_warmup_steps", int, lambda n: n >= 0, "a whole number of at least 0"),
    _among("optimizer", [row.name for row in OPTIMIZERS]),
    _among("lr_scheduler", [row.name for row in LR_SCHEDULES]),
    Rule("held_out_share", float, lambda x: 0 <= x < 1, "0 for none, or a part below 1 such as 0.01"),
    Rule("clip", float, lambda x: x > 0, "a norm above 0"),
    Rule("weight_decay", float, lambda x: 0 <= x < math.inf, "0 or more"),
    _among("timesteps", [row.name for row in TIMESTEP_SAMPLINGS]),
    Rule("precision", str, lambda name: name in [row.name for row in PRECISIONS], "fp32, bf16 or fp16"),
)
