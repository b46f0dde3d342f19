"""The size of the picture being made, for annotators whose result depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...adapter_models.hint import fit_to
from ...annotators.errors import AnnotatorError
from ...annotators.images import check_images
from ...annotators.palette import TRAINED_SIDE, likely_resolution
from .pictures import to_planes

PictureSize = tuple[int, int]
LARGEST_SIDE = 16384
# Pixels per latent cell where the latent does not state it: the factor of SD1.x, SD2.x and SDXL.
_LATENT_CELL = 8


def size_inputs(effect: str) -> list[Any]:
    """Return the inputs that give an annotator the size of the picture being made.

    Args:
        effect: What the size does, for the tooltips.
    """
    side = {"default": 0, "min": 0, "max": LARGEST_SIDE, "step": 8, "optional": True}
    return [
        io.Int.Input(
            "width",
            tooltip=f"Width of the picture being made, in pixels: {effect} 0 (default): the image's, or in the image's "
            "aspect if height is set.",
            **side,
        ),
        io.Int.Input(
            "height",
            tooltip="Height of the picture being made, in pixels. 0 (default): the image's, or in the image's aspect "
            "if width is set.",
            **side,
        ),
        io.Latent.Input(
            "latent",
            optional=True,
            tooltip="The latent that the sampler gets: its size goes before width and height.",
        ),
    ]


def picture_size(where: str, image: Tensor, width: int, height: int, latent: Any = None) -> PictureSize | None:
    """Return height and width of the picture being made, or None if the inputs do not give them.

    Args:
        where: The node's name, for messages.
        image: (B, H, W, C); its aspect supplies the missing side if only one is given.
        width: In pixels; 0 for unknown.
        height: In pixels; 0 for unknown.
        latent: ComfyUI's LATENT, which takes precedence, or None.

    Raises:
        AnnotatorError: The latent is not a LATENT of images.
    """
    if latent is not None:
        return _latent_size(where, latent)
    if not width and not height:
        return None
    rows, columns = image.shape[1:3]
    return height or max(1, round(width * rows / columns)), width or max(1, round(height * columns / rows))


def _latent_size(where: str, latent: Any) -> PictureSize:
    samples = latent.get("samples") if isinstance(latent, Mapping) else None
    if not isinstance(samples, Tensor) or samples.ndim < 4 or 0 in samples.shape:
        found = (
            f"samples of shape {tuple(samples.shape)}" if isinstance(samples, Tensor) else f"a {type(latent).__name__}"
        )
        raise AnnotatorError(
            f"{where}, latent",
            found,
            "a LATENT of pictures",
            "Connect the sampler's latent_image.",
            says="The latent is not one of pictures.",
        )
    cell = latent.get("downscale_ratio_spacial") or _LATENT_CELL
    return int(samples.shape[-2] * cell), int(samples.shape[-1] * cell)


def fit_image(where: str, image: Tensor, size: PictureSize) -> Tensor:
    """Crop and resize images to the size of the picture being made, as Apply T2I-Adapter does by default.

    Args:
        where: The node's name, for messages.
        image: (B, H, W, C) in [0, 1].
        size: Height and width in pixels.

    Returns:
        (B, *size, 3) in [0, 1], of the same dtype.

    Raises:
        AnnotatorError: The input is not an image.
    """
    planes = check_images(f"{where}, image", to_planes(image))
    return fit_to(planes, size, "crop").clamp(0, 1).movedim(1, -1).to(image.dtype)


def likely_palette(image: Tensor, trained: int = TRAINED_SIDE) -> tuple[int, str]:
    """Guess the size of the picture that a palette is for, where no input gives it.

    Args:
        image: (B, H, W, C).
        trained: See :func:`.likely_resolution`.

    Returns:
        The short side in pixels to make the palette at (0: the image's own), and a description of the assumed picture
        for the user.
    """
    rows, columns = image.shape[1:3]
    resolution = likely_resolution((rows, columns), trained)
    scale = resolution / min(rows, columns) if resolution else 1.0
    why = f"the image's {columns}×{rows} are more than is made in one go" if resolution else "as large as the image"
    made = f"a picture of {round(columns * scale)}×{round(rows * scale)} pixels ({why})"
    return resolution, f"{made}. Connect latent, or set width and height, if yours is of another size."
