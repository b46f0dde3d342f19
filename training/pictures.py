"""Pictures and condition maps from the bytes of files, upright and in the size of their bucket."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..adapter_models.hint import fit_to
from .buckets import Size, bucket_for
from .samples import Part, Sample, SampleError

# What Pillow raises on damaged files, depending on their format.
DAMAGE = (OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, ArithmeticError, struct.error, zlib.error)
# Modes of 16 bits and more in a channel, which Pillow would cut to 8: depth maps have them.
DEEP = ("I;16", "I;16B", "I;16L", "I")
DEEPEST = 65535


def decode(name: str, data: bytes) -> Tensor:
    """Read a picture.

    Args:
        name: What the user knows it by.
        data: The bytes of the file.

    Returns:
        (1, 3, H, W) in [0, 1], as it is meant to be looked at; gray is repeated, alpha dropped.

    Raises:
        SampleError: It is damaged, or no picture.
    """
    try:
        with Image.open(io.BytesIO(data)) as file:
            # Reads all of it, and turns it as the camera says.
            picture = ImageOps.exif_transpose(file)
            deep = picture.mode in DEEP
            values = np.asarray(picture if deep else picture.convert("RGB"), dtype=np.float32)
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise SampleError(f"{name} is no picture that can be read ({_reason(data, error)})") from error
    planes = torch.from_numpy(values.copy()) / (DEEPEST if deep else 255)
    return planes.expand(3, -1, -1)[None].clamp(0, 1) if deep else planes.movedim(-1, 0)[None]


def _reason(data: bytes, error: Exception) -> str:
    """Say what is wrong with a file; of what it does not know, Pillow only names the object that holds it in memory."""
    if not data:
        return "an empty file"
    return "of no format that is known" if isinstance(error, UnidentifiedImageError) else str(error)


def read_picture(part: Part, sizes: Sequence[Size]) -> tuple[Tensor, Size]:
    """Read a picture in the size of its bucket.

    Args:
        part: The file.
        sizes: Of the buckets.

    Returns:
        (1, 3, *bucket) in [0, 1], cut at its longer sides; and the size that it had.

    Raises:
        SampleError: It can't be read.
    """
    picture = decode(part.name, part.read())
    size = (picture.shape[-2], picture.shape[-1])
    return fit_to(picture, bucket_for(size, sizes), "crop").clamp(0, 1), size


def read_condition(sample: Sample, size: Size, bucket: Size) -> Tensor | None:
    """Read the condition map of a sample, cut like its picture.

    Args:
        sample: The sample.
        size: The size of its picture.
        bucket: The size of its bucket.

    Returns:
        (1, 3, *bucket) in [0, 1], or None where there is no map.

    Raises:
        SampleError: It can't be read, or has another size than the picture.
    """
    if sample.condition is None:
        return None
    image = decode(sample.condition.name, sample.condition.read())
    found = (image.shape[-2], image.shape[-1])
    if found != size:
        raise SampleError(f"{sample.condition.name} has {found[1]}×{found[0]} pixels, its picture {size[1]}×{size[0]}")
    return fit_to(image, bucket, "crop").clamp(0, 1)
