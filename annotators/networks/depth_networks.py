"""Depth by DPT (MiDaS 3), ZoeDepth and Depth Anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..depth import normalize_depth
from ..errors import AnnotatorError
from ..images import check_images
from .network_input import border_of, prepare_pixels
from .transformers_models import LoadedModel

_WHERE = "depth"
PATCH = 16  # of DPT, in pixels


def estimate_depth(loaded: LoadedModel, images: Tensor) -> Tensor:
    """Estimate depth, unscaled and not rounded to bytes.

    Args:
        loaded: A network of the task ``depth``.
        images: (B, C, H, W) in [0, 1].

    Returns:
        (B, 1, H, W), float32, not below 0: inverse depth (near is large) or metres, as ``model.gives`` says.

    Raises:
        AnnotatorError: The input is not pictures, they are too large, or the network has another task.
    """
    if loaded.model.task != "depth":
        raise AnnotatorError(
            _WHERE,
            loaded.model.network,
            "a network for depth",
            "Choose another file.",
            says="This network does not estimate depth.",
        )
    # One by one: ZoeDepth's router votes over the whole batch.
    return torch.cat([_estimate(loaded, image) for image in check_images(_WHERE, images).split(1)])


def depth_picture(loaded: LoadedModel, images: Tensor, gamma: float = 0.0) -> Tensor:
    """Estimate depth and normalize it as for the adapters that were trained with this network: near is white.

    Args:
        loaded: A network of the task ``depth``.
        images: (B, C, H, W) in [0, 1].
        gamma: Exponent of the result; 0 for the default: 1 for inverse depth, 2.2 for metres.

    Returns:
        (B, 3, H, W), float32 in [0, 1].

    Raises:
        AnnotatorError: As :func:`estimate_depth`, or gamma is below 0.
    """
    gives = loaded.model.gives
    return normalize_depth(estimate_depth(loaded, images), "zoe" if gives == "depth" else "midas", gives, gamma)


def _estimate(loaded: LoadedModel, image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    top, left = border_of(loaded.model, (height, width))
    pixels = prepare_pixels(loaded.model, image).to(next(loaded.network.parameters()).dtype)
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

    The hybrid rejects them, and the neck assumes a square grid of patches unless it gets the grid's size, which the
    class never passes. The rest of the network accepts any size.
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
