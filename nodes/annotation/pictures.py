"""Shared by all annotator nodes: common inputs, axis order, batches in parts with progress and cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy_api.latest import io

from ...annotators.images import at_resolution, check_images
from .. import host

ANNOTATOR_CATEGORY = "T2I-Adapter/annotators"
# Pixels per part: enough to be fast, few enough to cancel soon and need little memory.
PIXELS_PER_PART = 2**22


def image_input(tooltip: str = "The picture. Batches are done at once; alpha is dropped.") -> Any:
    """Return the image input, the first of every annotator."""
    return io.Image.Input("image", tooltip=tooltip)


def resolution_input(advice: str = "") -> Any:
    """Return the resolution input of annotators that take an image."""
    return io.Int.Input(
        "resolution",
        default=0,
        min=0,
        max=8192,
        step=8,
        advanced=True,
        tooltip="Short side in pixels at which to look at the picture: lower finds coarser shapes. The result has the "
        f"picture's size in any case. 0 (default): the picture's own size.{advice}",
    )


def image_output(tooltip: str) -> Any:
    """Return the image output of an annotator."""
    return io.Image.Output("image", tooltip=tooltip)


def to_planes(image: torch.Tensor) -> torch.Tensor:
    """Return images (B, H, W, C) as (B, C, H, W). Other inputs are returned unchanged; check_images rejects them."""
    return image.movedim(-1, 1) if image.ndim == 4 else image


def to_image(planes: torch.Tensor) -> torch.Tensor:
    """Return images (B, C, H, W) as (B, H, W, C), on the device where ComfyUI keeps results."""
    return planes.movedim(1, -1).to(host.intermediate_device()).contiguous()


def annotate(
    where: str,
    image: torch.Tensor,
    function: Callable[[torch.Tensor], torch.Tensor],
    resolution: int = 0,
    mode: Any = "smooth",
) -> io.NodeOutput:
    """Run an annotator on images.

    Args:
        where: The node's name, for messages.
        image: (B, H, W, C) in [0, 1].
        function: Maps (B, 3, H, W) to the same shape, each image independently.
        resolution: See :func:`at_resolution`.
        mode: See :func:`at_resolution`.

    Returns:
        The node's output: (B, H, W, 3) in [0, 1], of the input's size and dtype.

    Raises:
        AnnotatorError: The input is not an image; raised before anything is computed.
    """
    planes = check_images(f"{where}, image", to_planes(image))
    return in_parts(planes, lambda part: at_resolution(part, resolution, function, mode).to(image.dtype))


def in_parts(planes: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], pixels: int = 0) -> io.NodeOutput:
    """Run a function on a batch in parts, and return the node's output; see :func:`map_in_parts`."""
    return shown_output(map_in_parts(planes, function, pixels))


def map_in_parts(
    planes: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], pixels: int = 0
) -> torch.Tensor:
    """Run a function on a batch in parts, with a progress bar.

    Args:
        planes: Images (B, C, H, W).
        function: Maps a part (b, C, H, W) to images (b, C, H, W).
        pixels: Pixels per part, roughly; 0 for the default.

    Returns:
        (B, H, W, C), on the device where ComfyUI keeps results.
    """
    parts = planes.split(max(1, (pixels or PIXELS_PER_PART) // (planes.shape[-2] * planes.shape[-1])))
    done = host.progress(len(planes))
    results: list[torch.Tensor] = []
    for part in parts:
        results.append(to_image(function(part)))
        done(sum(map(len, results)))
    return torch.cat(results) if len(results) > 1 else results[0]


def shown_output(image: torch.Tensor, *before: Any) -> io.NodeOutput:
    """Return an annotator's output, and show its images on the node.

    Args:
        image: (B, H, W, 3) in [0, 1], the last output.
        before: The outputs before it.
    """
    return io.NodeOutput(*before, image, ui=host.save_for_page(image))
