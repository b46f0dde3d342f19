"""Decode pictures and condition maps, upright and cropped to the size of their bucket."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..adapter_models.hint import fit_to
from .buckets import PixelSize, bucket_for
from .framing import Framing, framing_of
from .samples import FilePart, Sample, SampleError

# Errors that Pillow raises on damaged files, depending on their format.
_PICTURE_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
# Pillow's modes with an alpha channel.
ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


@dataclass(frozen=True)
class Depth:
    """A format with more than eight bits, as in depth maps; Pillow's conversion would clip the values.

    Attributes:
        mode: Prefix of Pillow's modes.
        white: Value of white; black is 0.
        least: A picture whose largest value is above 0 but not above this has another range.
        slack: How far values may exceed the range after resizing.
    """

    mode: str
    white: float
    least: float
    slack: float


DEPTHS = (
    # Bytes or class numbers stored in 16 or more bits would be almost black.
    Depth("I", white=65535, least=255, slack=0),
    Depth("F", white=1, least=0, slack=1e-3),
)


def decode(name: str, data: bytes, *, on_white: bool = False) -> Tensor:
    """Read a picture.

    Args:
        name: Name in messages.
        data: Bytes of the file.
        on_white: Put transparent pictures on white; otherwise alpha is dropped, as condition maps need it.

    Returns:
        (1, 3, H, W) in [0, 1], upright; gray is repeated.

    Raises:
        SampleError: The file is damaged or not a picture, or its values are outside the format's range.
    """
    try:
        with Image.open(io.BytesIO(data)) as file:
            # Decodes the whole picture and applies the camera's rotation.
            picture = ImageOps.exif_transpose(file)
            depth = next((row for row in DEPTHS if picture.mode.startswith(row.mode)), None)
            if depth is None:
                # The file's bytes first: whole pictures as floats take most of the time to make.
                pixels = torch.from_numpy(np.array(_opaque(picture, on_white=on_white)))
                return pixels.to(torch.float32).div_(255).movedim(-1, 0)[None]
            values = np.asarray(picture, dtype=np.float32)
    except (*_PICTURE_DAMAGE, Image.DecompressionBombError) as error:
        raise SampleError(f"{name} is no picture that can be read ({_reason(data, error)})") from error
    _check_range(name, values, depth)
    return (torch.from_numpy(values.copy()) / depth.white).clamp(0, 1).expand(3, -1, -1)[None]


def _opaque(picture: Image.Image, *, on_white: bool) -> Image.Image:
    """Return a picture in RGB."""
    if on_white and ("transparency" in picture.info or picture.mode in ALPHA):
        with_alpha = picture.convert("RGBA")
        # Whole opaque pictures keep their exact values.
        if with_alpha.getextrema()[-1] != (255, 255):
            white = Image.new("RGBA", picture.size, "white")
            return Image.alpha_composite(white, with_alpha).convert("RGB")
    return picture.convert("RGB")


def _check_range(name: str, values: NDArray[np.float32], depth: Depth) -> None:
    low, high = float(values.min()), float(values.max())
    if not (low >= -depth.slack and high <= depth.white + depth.slack and (high > depth.least or high <= 0)):
        found = "NaN" if np.isnan(values).any() else f"numbers from {low:g} to {high:g}"
        raise SampleError(f"{name} has {found}, where {depth.white:g} is white and 0 black: scale them to that range")


def _reason(data: bytes, error: Exception) -> str:
    """Return what is wrong with a file; for unknown formats Pillow's own text names only an object in memory."""
    if not data:
        return "an empty file"
    return "of no format that is known" if isinstance(error, UnidentifiedImageError) else str(error)


def size_of(part: FilePart) -> PixelSize:
    """Read the height and width of a picture as they are stored, from its header if it is a file of its own.

    Raises:
        SampleError: The file can't be read.
    """
    try:
        with Image.open(part.path if type(part) is FilePart and not part.offset else io.BytesIO(part.read())) as file:
            return file.height, file.width
    except (*_PICTURE_DAMAGE, Image.DecompressionBombError) as error:
        raise SampleError(f"{part.name} is no picture that can be read ({error})") from error


def read_picture(part: FilePart, sizes: Sequence[PixelSize]) -> tuple[Tensor, PixelSize]:
    """Read a picture, cropped to the size of its bucket.

    Args:
        part: The file.
        sizes: Sizes of the buckets.

    Returns:
        (1, 3, *bucket) in [0, 1], and the picture's original size.

    Raises:
        SampleError: The picture can't be read.
    """
    picture = decode(part.name, part.read(), on_white=True)
    size = (picture.shape[-2], picture.shape[-1])
    return fit_to(picture, bucket_for(size, sizes), "crop").clamp(0, 1), size


def read_pair(sample: Sample, sizes: Sequence[PixelSize]) -> tuple[Tensor, Tensor | None, Framing]:
    """Read a sample's picture and condition map, cropped alike, and mirrored if the sample is.

    Args:
        sample: The sample.
        sizes: Sizes of the buckets.

    Returns:
        Picture and map, each (1, 3, *bucket) in [0, 1], the map None if the sample has none; and the crop.

    Raises:
        SampleError: One can't be read, or their sizes differ.
    """
    picture, size = read_picture(sample.picture, sizes)
    framing = framing_of(size, (picture.shape[-2], picture.shape[-1]))
    condition = read_condition(sample, size, framing.target)
    if sample.mirrored:
        # The crop is in the middle, so its corner stays.
        picture, condition = picture.flip(-1), None if condition is None else condition.flip(-1)
    return picture, condition, framing


def read_condition(sample: Sample, size: PixelSize, bucket: PixelSize) -> Tensor | None:
    """Read a sample's condition map, cropped like its picture.

    Args:
        sample: The sample.
        size: Original size of its picture.
        bucket: Size of its bucket.

    Returns:
        (1, 3, *bucket) in [0, 1]; None if the sample has no map.

    Raises:
        SampleError: The map can't be read, or its size differs from the picture's.
    """
    if sample.condition is None:
        return None
    image = decode(sample.condition.name, sample.condition.read())
    found = (image.shape[-2], image.shape[-1])
    if found != size:
        raise SampleError(f"{sample.condition.name} has {found[1]}×{found[0]} pixels, its picture {size[1]}×{size[0]}")
    return fit_to(image, bucket, "crop").clamp(0, 1)
