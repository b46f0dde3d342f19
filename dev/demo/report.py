"""Report how well the pictures follow their sketches."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from ..miniature import measure, scenes

NOT_MEASURED = "Not measured: the exact shapes behind a sketch are known only for the miniature's own scenes."


def text(without: Sequence[Image.Image], with_adapter: Sequence[Image.Image], truth: scenes.Scenes | None) -> str:
    """Return a table of measures, or the reason why there is none.

    Args:
        without: pictures drawn without the adapter.
        with_adapter: pictures drawn with it, in the same order.
        truth: the scenes that the sketches were drawn from.
    """
    if truth is None:
        return NOT_MEASURED
    rows = (
        ("silhouette: overlap of the foreground with the drawn shapes", measure.silhouette_iou),
        ("shapes: the requested colour at the drawn place", measure.shape_iou),
    )
    lines = [f"How well pictures follow their sketches, mean of {len(without)} (1 is exact):  without   with"]
    for name, function in rows:
        values = [float(function(tensor(pictures), truth).mean()) for pictures in (without, with_adapter)]
        lines.append(f"  {name:<62} {values[0]:6.2f} {values[1]:6.2f}")
    return "\n".join(lines)


def tensor(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Return pictures of one size as (B, H, W, 3) in [0, 1]."""
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])) / 255
