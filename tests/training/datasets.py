"""Small data sets on the disk: the same pictures in a folder and in tar shards, and ways to damage them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from t2i_adapter_pack.training.buckets import bucket_sizes
from t2i_adapter_pack.training.cache import prepare_cache
from t2i_adapter_pack.training.cached_dataset import CachedSet
from t2i_adapter_pack.training.distributed import ALONE
from t2i_adapter_pack.training.recipe import Recipe
from t2i_adapter_pack.training.samples import Listing

# Width and height; the buckets of 128 pixels are 64×256, 128×128 and 256×64.
SHAPES = ((128, 128), (300, 100), (140, 140), (64, 256))


def png(width: int = 128, height: int = 128, seed: int = 0, mode: str = "RGB") -> bytes:
    values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).convert(mode).save(file, "PNG")
    return file.getvalue()


def members(count: int = 5, *, conditions: bool = False) -> dict[str, bytes]:
    """The files of a data set by name, in order."""
    files: dict[str, bytes] = {}
    for number in range(count):
        size = SHAPES[number % len(SHAPES)]
        if conditions:
            files[f"{number:03}.cond.png"] = png(*size, seed=100 + number, mode="L")
        files[f"{number:03}.png"] = png(*size, seed=number)
        files[f"{number:03}.txt"] = f"picture {number}".encode()
    return files


def folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def shard(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def recipe(resolution: int = 128, **changes: Any) -> Recipe:
    """Encoders that are quick, and whose results tell what they were given."""

    def latents(picture: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(picture, 8).mean(1, keepdim=True).repeat(1, 4, 1, 1)

    def prompt(caption: str, latents: torch.Tensor) -> dict[str, torch.Tensor]:
        # As SDXL does, tell the size besides; long captions have twice the tokens.
        tokens = 10 if len(caption) > 20 else 5
        words = torch.full((1, tokens, 3), float(len(caption)))
        return {"context": words, "y": torch.tensor([[float(latents.shape[-2]), float(latents.shape[-1])]])}

    values = {
        "sizes": bucket_sizes(resolution),
        "channels": 1,
        "bgr": False,
        "latents": latents,
        "prompt": prompt,
        "annotate": lambda picture: (picture > 0.5).float(),
        "info": {"checkpoint": "a", "annotator": "threshold"},
    }
    return Recipe(**{**values, **changes})


def cached(listing: Listing, path: Path, how: Recipe | None = None, processes: Any = ALONE) -> CachedSet:
    how = how or recipe()
    return CachedSet(prepare_cache(listing, how, path, processes), how)
