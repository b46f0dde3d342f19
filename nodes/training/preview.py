"""Show a training run on its node: progress, and previews of one example at intervals."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ...training.in_memory_dataset import TrainingSet
from ...training.loop import Trainer
from ...training.preview import preview
from .. import host

# Losses in the mean that is shown: the loss of one step depends mostly on its timesteps.
LOSSES = 50


def progress_callback(
    trainer: Trainer, model: Any, data: TrainingSet, image: Tensor, every: int
) -> Callable[[int, float], None]:
    """Start the progress bar of a run.

    Args:
        trainer: The adapter in training.
        model: The loaded MODEL.
        data: The examples.
        image: Condition image (H, W, C) of the first example, in [0, 1].
        every: Steps between previews; 0 for none.

    Returns:
        A function to call with (steps done, loss of the last step). It raises when the user cancels.
    """
    steps = trainer.settings.steps
    done, told, node = host.progress(steps), RunText(steps, trainer.step), host.running_node() or None
    decode = host.latent_decoder(model, trainer.device) if every else None

    def after(step: int, loss: float) -> None:
        done(step)
        if (text := told.after(step, loss)) is not None:
            host.show(text, node)
        if decode is not None and step % every == 0:
            with torch.no_grad():
                picture = decode(preview(trainer, data))
            done(step, picture=side_by_side(image, picture))

    return after


@dataclass
class RunText:
    """Step, loss and time left of a run, as text for its node.

    Attributes:
        steps: Steps of the whole run.
        first: Steps done before this session.
        clock: Returns the time in seconds.
    """

    steps: int
    first: int
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """Start the clock."""
        self._began = self._told = self.clock()
        self._losses: deque[float] = deque(maxlen=LOSSES)

    def after(self, step: int, loss: float) -> str | None:
        """Return the text after a step, or None if the last one is less than a second old.

        Args:
            step: Steps done.
            loss: Loss of the last.
        """
        self._losses.append(loss)
        now = self.clock()
        if now - self._told < 1.0 and step < self.steps:
            return None
        self._told = now
        left = (now - self._began) / max(1, step - self.first) * (self.steps - step)
        mean = sum(self._losses) / len(self._losses)
        ends = f"about {_duration(left)} left" if step < self.steps else f"done in {_duration(now - self._began)}"
        return f"Step {step} of {self.steps}, loss {mean:.4g} (mean of the last {len(self._losses)}), {ends}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def side_by_side(image: Tensor, picture: Image.Image) -> Image.Image:
    """Put a condition image and its generated picture side by side.

    Args:
        image: (H, W, C) in [0, 1] with 1, 3 or 4 channels; alpha is not shown.
        picture: The generated picture, of any size; resized to the condition image's.

    Returns:
        An RGB picture, twice as wide as the condition image.
    """
    values = (image[..., : 3 if image.shape[-1] >= 3 else 1].float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    left = Image.fromarray(values.expand(-1, -1, 3).contiguous().numpy())
    both = Image.new("RGB", (2 * left.width, left.height))
    both.paste(left, (0, 0))
    both.paste(picture.convert("RGB").resize(left.size), (left.width, 0))
    return both
