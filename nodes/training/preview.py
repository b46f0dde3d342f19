"""What a training run shows on its node: the progress, and now and then what the adapter makes of an example."""

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
    """Begin a progress bar for a run.

    Args:
        trainer: The adapter in training.
        model: The loaded MODEL.
        data: The examples.
        image: (H, W, C) in [0, 1]: the condition image of the first, as the user gave it.
        every: Steps between pictures; 0 for none.

    Returns:
        A function to call with how many steps are made, and the loss of the last: it raises when the user cancels.
    """
    done = host.progress(trainer.settings.steps)
    decode = host.latent_decoder(model, trainer.device) if every else None

    def after(step: int, _loss: float) -> None:
        done(step)
        if decode is not None and step % every == 0:
            with torch.no_grad():
                picture = decode(preview(trainer, data))
            done(step, picture=beside(image, picture))

    return after


def beside(image: Tensor, picture: Image.Image) -> Image.Image:
    """Put a condition image and the picture that was made for it side by side.

    Args:
        image: (H, W, C) in [0, 1], 1, 3 or 4 channels of which the first or the first three are shown.
        picture: Of any size; it becomes that of the condition image.

    Returns:
        An RGB picture of twice the condition image's width.
    """
    values = (image[..., : 3 if image.shape[-1] >= 3 else 1].float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    left = Image.fromarray(values.expand(-1, -1, 3).contiguous().numpy())
    both = Image.new("RGB", (2 * left.width, left.height))
    both.paste(left, (0, 0))
    both.paste(picture.convert("RGB").resize(left.size), (left.width, 0))
    return both
