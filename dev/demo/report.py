"""Say how well the pictures obey their sketches."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from ..miniature import measure, scenes

NOT_MEASURED = "Not measured: what the sketch means exactly is known for the miniature's own scenes only."


def text(without: Sequence[Image.Image], with_adapter: Sequence[Image.Image], truth: scenes.Scenes | None) -> str:
    """Return a table of measures, or why there is none.

    Args:
        without: pictures drawn without the adapter.
        with_adapter: pictures drawn with it, in the same order.
        truth: the scenes that the sketches were drawn from.
    """
    if truth is None:
        return NOT_MEASURED
    rows = (
        ("silhouette: pixels that differ from the background as drawn", measure.silhouette_iou),
        ("shapes: the asked colour at the drawn place", measure.shape_iou),
    )
    lines = [f"How well the sketch was obeyed, mean of {len(without)} (1 is exact):  without   with"]
    for name, function in rows:
        values = [float(function(tensor(pictures), truth).mean()) for pictures in (without, with_adapter)]
        lines.append(f"  {name:<62} {values[0]:6.2f} {values[1]:6.2f}")
    return "\n".join(lines)


def tensor(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Return pictures of one size as (B, H, W, 3) in [0, 1]."""
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])) / 255
