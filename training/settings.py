"""The settings of a training run, and the checks on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from .errors import TrainingError
from .in_memory_dataset import Draw
from .timesteps import TIMESTEP_SAMPLINGS


@dataclass(frozen=True)
class Precision:
    """What the adapter computes in; its weights stay fp32.

    Attributes:
        name: What the user chooses.
        autocast: The type of the products, or None for fp32.
        scaled: Gradients vanish in this type unless the loss is scaled.
    """

    name: str
    autocast: torch.dtype | None
    scaled: bool = False


PRECISIONS = (
    Precision("fp32", None),
    Precision("bf16", torch.bfloat16),
    Precision("fp16", torch.float16, scaled=True),
)


# What may change when a run goes on: how far it goes, and what makes no difference to its numbers.
FREE = ("steps", "gradient_checkpointing")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How an adapter is trained.

    Attributes:
        steps: Steps of the optimiser, in all.
        batch_size: Examples in a forward, those of all processes.
        learning_rate: Of AdamW, constant. The paper's is 1e-5.
        timesteps: A name of :data:`.timesteps.TIMESTEP_SAMPLINGS`.
        prompt_dropout: Part of the examples that get the empty prompt.
        condition_dropout: Part of the examples that get a black condition image.
        ema: Decay of the moving average of the weights, which is then the result; 0 for none.
        gradient_accumulation: Forwards in a step.
        precision: A name of :data:`PRECISIONS`.
        seed: Decides all randomness.
        clip: Largest norm of the gradient.
        weight_decay: Of AdamW.
        gradient_checkpointing: Compute the inside of blocks again in the backward pass instead of keeping it. Changes
            memory and time, not the result.
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

    @property
    def draw(self) -> Draw:
        """How its batches are drawn."""
        return Draw(self.batch_size, self.timesteps, self.prompt_dropout, self.condition_dropout, self.seed)

    @property
    def computes_in(self) -> Precision:
        """The row of its precision."""
        return next(row for row in PRECISIONS if row.name == self.precision)

    @property
    def lasting(self) -> dict[str, object]:
        """What must not change when a run goes on: all but :data:`FREE`."""
        return {name: value for name, value in asdict(self).items() if name not in FREE}

    def check(self) -> None:
        """Refuse settings that can't work.

        Raises:
            TrainingError: The first that is wrong.
        """
        for rule in RULES:
            value = getattr(self, rule.name)
            kinds = (int, float) if rule.kind is float else (rule.kind,)
            if type(value) not in kinds or not rule.holds(value):
                raise TrainingError(rule.name, repr(value), rule.expected, f"Change {rule.name}.")


@dataclass(frozen=True)
class Rule:
    """A check of one setting.

    Attributes:
        name: The setting.
        kind: Its type; whole numbers are floats too.
        holds: Tells whether a value is right; false for NaN.
        expected: In words.
    """

    name: str
    kind: type
    holds: Callable[..., bool]
    expected: str


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
    Rule("clip", float, lambda x: x > 0, "a norm above 0"),
    Rule("weight_decay", float, lambda x: 0 <= x < math.inf, "0 or more"),
    Rule("timesteps", str, lambda name: name in [row.name for row in TIMESTEP_SAMPLINGS], "a sampling of times"),
    Rule("precision", str, lambda name: name in [row.name for row in PRECISIONS], "fp32, bf16 or fp16"),
)
