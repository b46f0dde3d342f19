"""Show a training run on its node: progress, and previews of one example at intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ...training.in_memory_dataset import TrainingSet
from ...training.loop import Trainer
from ...training.preview import preview
from .. import host


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
    done = host.progress(trainer.settings.steps)
    decode = host.latent_decoder(model, trainer.device) if every else None

    def after(step: int, _loss: float) -> None:
        done(step)
        if decode is not None and step % every == 0:
            with torch.no_grad():
                picture = decode(preview(trainer, data))
            done(step, picture=side_by_side(image, picture))

    return after


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
