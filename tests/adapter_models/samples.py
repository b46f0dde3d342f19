"""Adapters in every published layout, made by hand from the published tables of names and shapes.

Nothing here but the type AdapterConfig comes from the code under test, so that a table in it can be wrong and be found.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from t2i_adapter_pack.adapter_models.config import AdapterConfig
from torch import Tensor

CHANNELS = (8, 16, 32, 32)
# The entry in a pickle that with_instructions() replaces.
MARK = re.compile(rb"X\x04\x00\x00\x00markq.K\x00", re.DOTALL)
SD_DOWN, XL_DOWN = (1, 2, 3), (2,)


def full(image_channels: int = 3, **changes: object) -> AdapterConfig:
    """A small full adapter for SD1.x."""
    values = {"unshuffle": 8, "channels": CHANNELS, "down_levels": SD_DOWN, "num_res_blocks": 2, **changes}
    return AdapterConfig("full", image_channels, **values)


def xl(image_channels: int = 3, **changes: object) -> AdapterConfig:
    """A small full adapter for SDXL."""
    return full(image_channels, **{"unshuffle": 16, "down_levels": XL_DOWN, **changes})


def light(image_channels: int = 3, divisor: int = 4, **changes: object) -> AdapterConfig:
    """A small light adapter for SD1.x."""
    channels = changes.get("channels", CHANNELS)
    inner = tuple(width // divisor for width in channels)
    values = {"unshuffle": 8, "channels": channels, "down_levels": SD_DOWN, "num_res_blocks": 4, **changes}
    return AdapterConfig("light", image_channels, **values, inner_channels=inner)


THREE = {"channels": CHANNELS[:3], "down_levels": (1, 2)}
# Shapes that diffusers knows too.
COMMON = {
    "full 1 channel": full(1),
    "full 3 channels": full(3),
    "full 1 block": full(num_res_blocks=1),
    "full 3 blocks": full(num_res_blocks=3),
    "full 4 blocks": full(num_res_blocks=4),
    "full three levels": full(**THREE),
    "XL 1 channel": xl(1),
    "XL 3 channels": xl(3),
    "XL 3 blocks": xl(num_res_blocks=3),
    "XL three levels": xl(channels=CHANNELS[:3]),
    "light 1 channel": light(1),
    "light a quarter": light(),
    "light 1 block": light(num_res_blocks=1),
    "light 2 blocks": light(num_res_blocks=2),
    "light 3 blocks": light(num_res_blocks=3),
    "light three levels": light(channels=(8, 16, 16), down_levels=(1, 2)),
}
# Shapes that only the original code knows.
ORIGINAL_ONLY = {
    "full kernel 3": full(kernel_size=3),
    "full kernel 3, convolved residual": full(kernel_size=3, identity_skip=False),
    "full convolved residual": full(identity_skip=False),
    "full convolution shrinks": full(conv_down=True),
    "full defaults of the class": full(1, kernel_size=3, identity_skip=False, conv_down=True, num_res_blocks=3),
    "XL kernel 3": xl(kernel_size=3),
    "XL convolution shrinks, convolved residual": xl(conv_down=True, identity_skip=False),
    "light a half": light(divisor=2),
    "light an eighth": light(divisor=8),
}
# Every layout of the canon: (config, naming) by a name to read.
LAYOUTS = {
    **{f"{name}, original": (config, "original") for name, config in {**COMMON, **ORIGINAL_ONLY}.items()},
    **{f"{name}, diffusers": (config, "diffusers") for name, config in COMMON.items()},
}


def shapes_of(config: AdapterConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the original layout."""
    found: dict[str, tuple[int, ...]] = {}

    def conv(name: str, out: int, into: int, kernel: int) -> None:
        found[f"{name}.weight"] = (out, into, kernel, kernel)
        found[f"{name}.bias"] = (out,)

    widths, blocks, kernel = config.channels, config.num_res_blocks, config.kernel_size
    if config.kind == "light":
        for level, (inner, width) in enumerate(zip(config.inner_channels, widths, strict=True)):
            conv(f"body.{level}.in_conv", inner, widths[level - 1] if level else config.in_channels, 1)
            for block in range(blocks):
                conv(f"body.{level}.body.{block}.block1", inner, inner, 3)
                conv(f"body.{level}.body.{block}.block2", inner, inner, 3)
            conv(f"body.{level}.out_conv", width, inner, 1)
        return found
    conv("conv_in", widths[0], config.in_channels, 3)
    for index in range(len(widths) * blocks):
        level, first = index // blocks, index % blocks == 0
        width, into = widths[level], widths[level - 1] if first and level else widths[level]
        if first and level in config.down_levels and config.conv_down:
            conv(f"body.{index}.down_opt.op", into, into, 3)
        if into != width or not config.identity_skip:
            conv(f"body.{index}.in_conv", width, into, kernel)
        conv(f"body.{index}.block1", width, width, 3)
        conv(f"body.{index}.block2", width, width, kernel)
        if not config.identity_skip:
            conv(f"body.{index}.skep", width, width, kernel)
    return found


def weights(config: AdapterConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Random weights by the names of the original layout."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn(shape, generator=generator) / math.prod(shape[1:]) ** 0.5).to(dtype)
        for name, shape in shapes_of(config).items()
    }


def as_diffusers(tensors: dict[str, Tensor], config: AdapterConfig) -> dict[str, Tensor]:
    """The names that diffusers gives to the same weights, without `adapter.`."""
    renamed = {}
    for name, tensor in tensors.items():
        body, *rest = name.split(".")
        if body != "body":
            renamed[name] = tensor
            continue
        index, part, *tail = int(rest[0]), rest[1], *rest[2:]
        if config.kind == "light":
            part = "resnets" if part == "body" else part
            renamed[".".join([body, str(index), part, *tail])] = tensor
            continue
        level, block = divmod(index, config.num_res_blocks)
        inside = [] if part == "in_conv" else ["resnets", str(block)]
        renamed[".".join([body, str(level), *inside, part, *tail])] = tensor
    return renamed


def named(tensors: dict[str, Tensor], config: AdapterConfig, naming: str) -> dict[str, Tensor]:
    """The weights by the names of a layout, as that software writes them."""
    if naming == "original":
        return dict(tensors)
    return prefixed("adapter.", as_diffusers(tensors, config))


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, each name behind a prefix."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def diffusers_config(config: AdapterConfig) -> dict[str, object]:
    """What diffusers writes into config.json."""
    kind = "light_adapter" if config.kind == "light" else "full_adapter"
    return {
        "_class_name": "T2IAdapter",
        "_diffusers_version": "0.42.1",
        "adapter_type": kind + ("_xl" if config.down_levels == XL_DOWN else ""),
        "channels": list(config.channels[:-1] if config.kind == "light" else config.channels),
        "downscale_factor": config.unshuffle,
        "in_channels": config.image_channels,
        "num_res_blocks": config.num_res_blocks,
    }


# How files are written, by the ending of their names; "legacy" is what torch wrote before 1.6.
CONTAINERS = ("safetensors", "sft", "pth", "bin", "ckpt", "pt", "legacy.pth", "legacy.ckpt")


def save(folder: Path, tensors: dict, container: str = "safetensors", name: str = "x") -> Path:
    """Write a file in one of CONTAINERS."""
    path = folder / f"{name}.{container}"
    if container in ("safetensors", "sft"):
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization="legacy" not in container)
    return path


def with_instructions(path: Path, instructions: bytes) -> Path:
    """In a file of torch's with the entry ``mark``: 0, let a pickle's instructions push that entry instead."""
    content = path.read_bytes()
    if not zipfile.is_zipfile(path):
        path.write_bytes(MARK.sub(lambda _: instructions, content))
        return path
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            record = old.read(name)
            new.writestr(name, MARK.sub(lambda _: instructions, record) if name.endswith("data.pkl") else record)
    return path


def same_bits(got: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    """Whether two state dicts have the same names, shapes, precisions and bits."""
    return got.keys() == expected.keys() and all(
        got[name].dtype == tensor.dtype
        and got[name].shape == tensor.shape
        and torch.equal(got[name].reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))
        for name, tensor in expected.items()
    )
