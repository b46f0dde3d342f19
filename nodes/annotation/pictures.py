"""What the annotators' nodes share: pictures in ComfyUI's order of axes, parts of a long batch, progress, cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy_api.latest import io

from ...annotators.images import at_resolution, check_images
from .. import host

CATEGORY = "T2I-Adapter/annotators"
# Pixels at a time: enough to be quick, few enough to be cancelled and to need little memory.
PART = 2**22


def image_input(tooltip: str = "The picture. Batches are done at once; alpha is dropped.") -> Any:
    """Return the input that every annotator begins with."""
    return io.Image.Input("image", tooltip=tooltip)


def resolution_input(advice: str = "") -> Any:
    """Return the input that every annotator of pictures has."""
    return io.Int.Input(
        "resolution",
        default=0,
        min=0,
        max=8192,
        step=8,
        tooltip="Short side in pixels at which to look at the picture: lower finds coarser shapes. The result has the "
        f"picture's size in any case. 0 (default): the picture's own size.{advice}",
    )


def image_output(tooltip: str) -> Any:
    """Return the output that every annotator has."""
    return io.Image.Output("image", tooltip=tooltip)


def to_planes(image: torch.Tensor) -> torch.Tensor:
    """Return pictures (B, H, W, C) as (B, C, H, W); what is no picture comes back for the check to refuse."""
    return image.movedim(-1, 1) if image.ndim == 4 else image


def to_image(planes: torch.Tensor) -> torch.Tensor:
    """Return pictures (B, C, H, W) as (B, H, W, C), where ComfyUI wants them."""
    return planes.movedim(1, -1).to(host.intermediate_device()).contiguous()


def annotate(
    where: str,
    image: torch.Tensor,
    function: Callable[[torch.Tensor], torch.Tensor],
    resolution: int = 0,
    mode: Any = "smooth",
) -> io.NodeOutput:
    """Run an annotator on pictures.

    Args:
        where: The node's name, for messages.
        image: (B, H, W, C) in [0, 1].
        function: From (B, 3, H, W) to the same, picture by picture independent.
        resolution: See :func:`at_resolution`.
        mode: See :func:`at_resolution`.

    Returns:
        The node's output: (B, H, W, 3) in [0, 1] of the input's size and type.

    Raises:
        AnnotatorError: The input is no picture; before anything is computed.
    """
    planes = check_images(f"{where}, image", to_planes(image))
    return in_parts(planes, lambda part: at_resolution(part, resolution, function, mode).to(image.dtype))


def in_parts(planes: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], pixels: int = 0) -> io.NodeOutput:
    """Run a function on a few pictures (B, C, H, W) at a time, with a progress bar, and return the node's output.

    About ``pixels`` pixels go through it together; 0 for as many as usual.
    """
    parts = planes.split(max(1, (pixels or PART) // (planes.shape[-2] * planes.shape[-1])))
    done = host.progress(len(planes))
    results: list[torch.Tensor] = []
    for part in parts:
        results.append(to_image(function(part)))
        done(sum(map(len, results)))
    return io.NodeOutput(torch.cat(results) if len(results) > 1 else results[0])
