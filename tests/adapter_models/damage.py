"""Good files of every container, which of their bytes are structure, and ways to damage those."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from t2i_adapter_pack.adapter_models.config import AdapterConfig

from . import samples

Spans = list[tuple[int, int]]


def structure_of_safetensors(content: bytes) -> Spans:
    """The length of the header, and the header."""
    return [(0, 8 + int.from_bytes(content[:8], "little"))]


def structure_of_zip(content: bytes) -> Spans:
    """All but the numbers of the tensors: headers, data.pkl, version records, padding, directory."""
    spans, start = [], 0
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for record in sorted(archive.infolist(), key=lambda record: record.header_offset):
            if "/data/" in record.filename:
                at = record.header_offset
                name, extra = (int.from_bytes(content[at + n : at + n + 2], "little") for n in (26, 28))
                begin = at + 30 + name + extra
                spans.append((start, begin))
                start = begin + record.file_size
    return [*spans, (start, len(content))]


def structure_of_legacy(content: bytes) -> Spans:
    """The pickles, and the count before the numbers of each tensor."""
    spans, end = [], len(content)
    tensors = torch.load(io.BytesIO(content), weights_only=True)
    keys = storage_keys(content)
    sizes = {key: tensor.nbytes for tensor, key in zip(tensors.values(), keys, strict=True)}
    for key in sorted(keys, reverse=True):
        end -= sizes[key]
        spans.append((end - 8, end))
        end -= 8
    return [(0, end), *spans]


def storage_keys(content: bytes) -> list[str]:
    """The names of the storages in the order of the tensors."""
    keys = []

    class Unpickler(torch.serialization.pickle.Unpickler):
        def persistent_load(self, saved):
            keys.append(saved[2])
            return torch.storage.TypedStorage(saved[4], dtype=torch.float32, _internal=True)

    stream = io.BytesIO(content)
    for _ in range(4):
        Unpickler(stream).load()
    return keys


def structure_of_text(content: bytes) -> Spans:
    """Everything."""
    return [(0, len(content))]


def flip(data: bytearray, at: int, rng: random.Random) -> None:
    """Turn one bit over."""
    data[at] ^= 1 << rng.randrange(8)


def replace(data: bytearray, at: int, rng: random.Random) -> None:
    """Write another byte."""
    data[at] = rng.choice((0, 1, 0x20, 0x2D, 0x30, 0x39, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def insert(data: bytearray, at: int, rng: random.Random) -> None:
    """Push in up to four bytes."""
    data[at:at] = bytes(rng.choice((0, 0x20, 0x30, 0x39, rng.randrange(256))) for _ in range(rng.randint(1, 4)))


def delete(data: bytearray, at: int, rng: random.Random) -> None:
    """Take out up to four bytes."""
    del data[at : at + rng.randint(1, 4)]


def swap(data: bytearray, at: int, rng: random.Random) -> None:
    """Exchange a byte with one of the next."""
    other = min(at + rng.randint(1, 8), len(data) - 1)
    data[at], data[other] = data[other], data[at]


def repeat(data: bytearray, at: int, rng: random.Random) -> None:
    """Write a few bytes twice."""
    data[at:at] = data[at : at + rng.randint(1, 40)]


def number(data: bytearray, at: int, rng: random.Random) -> None:
    """Write a large or a small 32-bit number."""
    data[at : at + 4] = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**30)).to_bytes(4, "little")


def digit(data: bytearray, at: int, rng: random.Random) -> None:
    """Change the next decimal digit, if there is one."""
    places = [place for place in range(at, len(data)) if 0x30 <= data[place] <= 0x39][:1]
    for place in places:
        data[place] = rng.choice([byte for byte in range(0x30, 0x3A) if byte != data[place]])


WAYS: tuple[Callable[[bytearray, int, random.Random], None], ...] = (
    *(flip, replace, insert, delete),
    *(swap, repeat, number, digit),
)


class Good:
    """A good file: how it is written, where its structure is, and what it holds."""

    def __init__(self, kind: str, config: AdapterConfig, naming: str = "original") -> None:
        self.kind, self.config = kind, config
        self.tensors = samples.weights(config)
        self.named = samples.named(self.tensors, config, naming)

    def write(self, folder: Path) -> Path:
        """Write it; return what is to be damaged."""
        if self.kind == "config":
            save_file(self.named, folder / "diffusion_pytorch_model.safetensors")
            path = folder / "config.json"
            path.write_text(json.dumps(samples.diffusers_config(self.config), indent=2))
            return path
        return samples.save(folder, self.named, {"zip": "pth", "legacy": "legacy.pth"}.get(self.kind, self.kind))

    def target(self, path: Path) -> Path:
        """What to load, once `path` is damaged."""
        return path.parent if self.kind == "config" else path

    def damaged(self, content: bytes, rng: random.Random, spans: Spans | None = None) -> bytes:
        """A copy with one to three faults in its structure."""
        spans = spans or STRUCTURE[self.kind](content)
        data = content
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            start, end = rng.choices(spans, [end - start for start, end in spans])[0]
            # Only the structure changes: what a fault pushes over its end is cut, or makes the file longer.
            part = bytearray(data[start:end])
            rng.choice(WAYS)(part, rng.randrange(len(part)), rng)
            data = data[:start] + bytes(part) + data[end:]
        return data


STRUCTURE = {
    "safetensors": structure_of_safetensors,
    "zip": structure_of_zip,
    "legacy": structure_of_legacy,
    "config": structure_of_text,
}
GOOD = {
    "safetensors, full": Good("safetensors", samples.full(1)),
    "safetensors, XL, diffusers": Good("safetensors", samples.xl(1), "diffusers"),
    "safetensors, light": Good("safetensors", samples.light(1)),
    "zip, full": Good("zip", samples.full(1)),
    "zip, light, diffusers": Good("zip", samples.light(1), "diffusers"),
    "legacy, full": Good("legacy", samples.full(1)),
    "legacy, XL, diffusers": Good("legacy", samples.xl(1), "diffusers"),
    "config.json, full": Good("config", samples.full(3), "diffusers"),
    "config.json, XL": Good("config", samples.xl(3), "diffusers"),
    "config.json, light": Good("config", samples.light(3), "diffusers"),
}
