"""Depth by DPT (MiDaS 3), ZoeDepth and Depth Anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import AnnotatorError
from ..images import check_images
from .network_input import border_of, prepare
from .transformers_models import LoadedModel

WHERE = "depth"
PATCH = 16  # of DPT, in pixels


def estimate_depth(loaded: LoadedModel, images: Tensor) -> Tensor:
    """Estimate depth, as the network gives it: nothing is scaled, nothing is rounded to bytes.

    Args:
        loaded: A network of the task ``depth``.
        images: (B, C, H, W) in [0, 1].

    Returns:
        (B, 1, H, W), float32: what ``model.gives`` says: inverse depth (near is large), or metres. Not below 0.

    Raises:
        AnnotatorError: No pictures, too large ones, or a network for another task.
    """
    if loaded.model.task != "depth":
        raise AnnotatorError(WHERE, loaded.model.key, "a network for depth", "Choose another file.")
    # One by one: ZoeDepth's router would let the pictures of a batch outvote each other.
    return torch.cat([_estimate(loaded, image) for image in check_images(WHERE, images).split(1)])


def _estimate(loaded: LoadedModel, image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    top, left = border_of(loaded.model, (height, width))
    pixels = prepare(loaded.model, image).to(next(loaded.network.parameters()).dtype)
    depth = _forward(loaded, pixels)
    if loaded.model.mirrored:
        depth = (depth + _forward(loaded, pixels.flip(-1)).flip(-1)) / 2
    size = (height + 2 * top, width + 2 * left)
    if depth.shape[-2:] != size:
        depth = functional.interpolate(depth, size=size, mode="bicubic")
    # Neither goes below 0, but bicubic enlarging does.
    return depth[..., top : top + height, left : left + width].clamp(min=0)


def _forward(loaded: LoadedModel, pixels: Tensor) -> Tensor:
    """(1, 3, h, w) -> (1, 1, h', w'), float32."""
    network: Any = loaded.network
    if not loaded.model.square:
        depth: Tensor = network(pixel_values=pixels).predicted_depth
    else:
        with _of_any_size(network, (pixels.shape[-2], pixels.shape[-1])):
            depth = network(pixel_values=pixels).predicted_depth
    return depth[:, None].to(torch.float32)


@contextmanager
def _of_any_size(network: Any, size: tuple[int, int]) -> Iterator[None]:
    """Let transformers' DPT take pictures that are not 384×384.

    Its hybrid refuses them, and its neck takes the grid of patches for a square, unless it is told the grid's size;
    the class itself never tells. The rest of the network takes any size.
    """

    def tell(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (arguments[0], size[0] // PATCH, size[1] // PATCH)

    embeddings = [module for module in network.dpt.embeddings.modules() if hasattr(module, "image_size")]
    before = [module.image_size for module in embeddings]
    handle = network.neck.register_forward_pre_hook(tell)
    try:
        for module in embeddings:
            module.image_size = size
        yield
    finally:
        handle.remove()
        for module, old in zip(embeddings, before, strict=True):
            module.image_size = old
