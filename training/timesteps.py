"""The table of distributions that training timesteps are drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.checks import check_choice
from .errors import TrainingError

# Number of timesteps in Stable Diffusion's noise schedule.
TIMESTEPS = 1000


@dataclass(frozen=True)
class TimestepSampling:
    """A distribution of timesteps.

    Attributes:
        name: Name that the user chooses.
        curve: Uniform numbers in [0, 1) -> fractions of the schedule in [0, 1]; 1 is the noisiest.
    """

    name: str
    curve: Callable[[Tensor], Tensor]


# The composition forms at high noise, so an adapter learns most from timesteps there.
# Source: arXiv 2302.08453, section 3.4 (cubic, against uniform); the authors' advice for colour adapters (late); arXiv
# 2403.03206, section 3.1 (logit-normal, for flow matching).
TIMESTEP_SAMPLINGS = (
    TimestepSampling("cubic", lambda u: 1 - u**3),
    TimestepSampling("uniform", lambda u: u),
    TimestepSampling("late", lambda u: 0.5 + 0.5 * u),
    TimestepSampling("logit-normal", lambda u: torch.special.ndtri(u).sigmoid()),
)


def sample_timesteps(name: str, count: int, generator: torch.Generator) -> Tensor:
    """Draw timesteps from one of :data:`TIMESTEP_SAMPLINGS`.

    Args:
        name: Name of the distribution.
        count: Number of timesteps.
        generator: Random generator on the CPU.

    Returns:
        (count,) integers from 0 to 999; 999 is the noisiest.

    Raises:
        TrainingError: The name is unknown.
    """
    return _timesteps(name, torch.rand(count, generator=generator, dtype=torch.float64))


def spread_timesteps(name: str, count: int, generator: torch.Generator) -> Tensor:
    """Draw one timestep from each of several equally likely parts of a distribution; see :func:`sample_timesteps`."""
    places = torch.arange(count) + torch.rand(count, generator=generator, dtype=torch.float64)
    return _timesteps(name, places / count)


def _timesteps(name: str, uniform: Tensor) -> Tensor:
    check_choice("timesteps", name, (row.name for row in TIMESTEP_SAMPLINGS), error=TrainingError)
    row = next(row for row in TIMESTEP_SAMPLINGS if row.name == name)
    # u = 0 gives 1000, which is past the last timestep.
    return (row.curve(uniform) * TIMESTEPS).long().clamp(max=TIMESTEPS - 1)
