"""Steps and epochs: how often a run trains on each example."""

from __future__ import annotations

import math

from .errors import TrainingError
from .settings import Settings


def steps_per_epoch(examples: int, settings: Settings) -> float:
    """Return the number of steps in which a run trains once on each example; may be a fraction.

    Args:
        examples: Number of examples.
        settings: The settings of the run.
    """
    return examples / (settings.batch_size * settings.gradient_accumulation)


def steps_of_epochs(epochs: float, examples: int, settings: Settings) -> int:
    """Return the number of steps in which a run trains on each example so many times: the next whole number.

    Args:
        epochs: Times that each example is trained on; may be a fraction.
        examples: Number of examples.
        settings: The settings of the run.

    Raises:
        TrainingError: ``epochs`` is not a number above 0.
    """
    if not 0 < epochs < math.inf:
        raise TrainingError(
            "epochs", str(epochs), "a number above 0", "Change epochs.", says="The number of epochs must be above 0."
        )
    return max(1, math.ceil(epochs * steps_per_epoch(examples, settings)))
