"""At which times of the noise schedule an adapter is trained: the table of samplings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.checks import check_choice
from .errors import TrainingError

# Number of times of the noise schedule that Stable Diffusion was trained with.
TIMESTEPS = 1000


@dataclass(frozen=True)
class TimestepSampling:
    """A distribution of times.

    Attributes:
        name: What the user chooses.
        curve: Uniform numbers in [0, 1) -> parts of the schedule in [0, 1], 1 the noisiest.
    """

    name: str
    curve: Callable[[Tensor], Tensor]


# The composition is decided while there is much noise, so times there teach an adapter most.
# Source: arXiv 2302.08453, section 3.4 (cubic, against uniform); the authors' advice for colour adapters (late).
TIMESTEP_SAMPLINGS = (
    TimestepSampling("cubic", lambda u: 1 - u**3),
    TimestepSampling("uniform", lambda u: u),
    TimestepSampling("late", lambda u: 0.5 + 0.5 * u),
)


def sample_timesteps(name: str, count: int, generator: torch.Generator) -> Tensor:
    """Draw times from one of :data:`TIMESTEP_SAMPLINGS`.

    Args:
        name: The sampling.
        count: How many.
        generator: Where the randomness comes from, on the CPU.

    Returns:
        (count,) whole numbers from 0 to 999, 999 the noisiest.

    Raises:
        TrainingError: No sampling has this name.
    """
    check_choice("timesteps", name, (row.name for row in TIMESTEP_SAMPLINGS), error=TrainingError)
    row = next(row for row in TIMESTEP_SAMPLINGS if row.name == name)
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    # u = 0 gives 1000 itself, which is past the last time.
    return (row.curve(uniform) * TIMESTEPS).long().clamp(max=TIMESTEPS - 1)
