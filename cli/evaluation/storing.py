"""Pictures and scores on the disk: each file is complete, and says what it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from ...annotators.images import to_bytes
from ...training.checkpoints import write_whole

# The text in a PNG file that holds its key.
_KEY = "t2i_adapter.evaluation"
# What Pillow raises for damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError)


def write_picture(path: Path, picture: Tensor, key: str) -> None:
    """Write a picture atomically as a PNG file.

    Args:
        path: The file.
        picture: (1, 3, H, W) in [0, 1].
        key: A digest of what the picture was made from.
    """
    text = PngImagePlugin.PngInfo()
    text.add_text(_KEY, key)
    pixels = to_bytes(picture.clamp(0, 1))[0].movedim(0, -1).cpu().contiguous().numpy()
    image = Image.fromarray(pixels)
    write_whole(path, lambda file: image.save(file, "PNG", pnginfo=text))


def picture_key(path: Path) -> str | None:
    """Return the key in a picture's file; None if the file is missing or damaged, or has no key."""
    try:
        with Image.open(path) as image:
            image.load()
            return str(image.info[_KEY]) if _KEY in image.info else None
    except _DAMAGE:
        return None


def read_planes(path: Path) -> Tensor:
    """Read a picture that :func:`write_picture` wrote: (1, 3, H, W) in [0, 1]."""
    with Image.open(path) as image:
        values = np.asarray(image.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(values.copy()).movedim(-1, 0)[None] / 255


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically."""
    text = json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")
    write_whole(path, lambda file: file.write(text))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
