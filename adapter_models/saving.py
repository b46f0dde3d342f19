"""Write adapters in the layouts other programs read: tensors, metadata, and diffusers' config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .conditions import COLOR_ORDER_KEY, CONDITION_KEY, FAMILY_KEY
from .config import AdapterConfig
from .errors import AdapterError
from .formats import FORMATS
from .networks import Adapter

KIND_KEY = "t2i_adapter.kind"
TRAINING_KEY = "t2i_adapter.training"


@dataclass(frozen=True)
class FileLayout:
    """A layout of an adapter's file.

    Attributes:
        name: Its name in a host's list.
        format: The name of its rows in :data:`.formats.FORMATS`.
        prefix: Prefix of every name.
        folder: Whether it is a folder with a ``config.json``.
    """

    name: str
    format: str
    prefix: str = ""
    folder: bool = False


FILE_LAYOUTS = (
    FileLayout("original", "original (TencentARC)"),
    FileLayout("diffusers", "diffusers", prefix="adapter.", folder=True),
)
# Precisions of a file by their names in a host's list; the first is the default.
FILE_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def layout_named(name: str) -> FileLayout:
    """Return the row of :data:`FILE_LAYOUTS` with a name."""
    row = next((row for row in FILE_LAYOUTS if row.name == name), None)
    if row is None:
        names = ", ".join(row.name for row in FILE_LAYOUTS)
        raise AdapterError(
            "format", f"'{name}'", f"one of {names}", "Choose one of them.", says="There is no such file format."
        )
    return row


def tensors_for_file(network: Adapter, layout: FileLayout, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the weights of an adapter in the form a file stores.

    Args:
        network: The adapter; not modified.
        layout: How to name them.
        dtype: Precision in the file.

    Returns:
        Name -> tensor, contiguous and on the CPU.

    Raises:
        AdapterError: The layout can't express this adapter, or its weights are too large for the precision.
    """
    config = network.config
    if layout.folder:
        diffusers_config(config)
    row = next(row for row in FORMATS if row.kind == config.kind and row.name == layout.format)
    tensors: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        written = tensor.detach().to("cpu", dtype).contiguous()
        if not torch.isfinite(written).all():
            raise AdapterError(
                "dtype",
                f"{name} not finite in {dtype}",
                "finite weights",
                "Save in fp32 or bf16.",
                says="Some weights of this adapter are too large for the chosen precision.",
            )
        tensors[layout.prefix + row.name_in_file(name, config.num_res_blocks)] = written
    return tensors


def diffusers_config(config: AdapterConfig) -> dict[str, object]:
    """Return the ``config.json`` from which diffusers builds the same network.

    Args:
        config: The shape of the adapter.

    Returns:
        The entries of the file.

    Raises:
        AdapterError: diffusers has no such network.
    """
    channels, halved = list(config.channels), tuple(range(1, len(config.channels)))
    xl = config.kind == "full" and config.down_levels == (2,) and len(channels) == 4
    plain = config.kernel_size == 1 and config.identity_skip and not config.conv_down
    if config.kind == "light":
        # diffusers adds the fourth level itself and uses a quarter of the width inside.
        inner = tuple(width // 4 for width in channels)
        known = config.down_levels == halved and config.inner_channels == inner and channels[-1] == channels[-2]
        channels = channels[:-1]
    else:
        known = plain and (xl or config.down_levels == halved)
    if not known:
        raise AdapterError(
            "format 'diffusers'",
            f"a {config.kind} adapter of a shape that diffusers does not have",
            "size base, or size small for SD1.x and SD2.x",
            "Set format to original, which holds every size and family.",
            says="diffusers has no network of this adapter's shape.",
        )
    kind = "light_adapter" if config.kind == "light" else f"full_adapter{'_xl' if xl else ''}"
    return {
        "_class_name": "T2IAdapter",
        "adapter_type": kind,
        "in_channels": config.image_channels,
        "channels": channels,
        "num_res_blocks": config.num_res_blocks,
        "downscale_factor": config.unshuffle,
    }


def metadata_for_file(
    config: AdapterConfig,
    *,
    family: str | None = None,
    condition: str | None = None,
    training: str | None = None,
    bgr: bool | None = False,
) -> Mapping[str, str]:
    """Return the text to write beside the weights; :mod:`.conditions` and :mod:`.loading` read it again.

    Args:
        config: The shape of the adapter.
        family: ``SD1.x``, ``SD2.x`` or ``SDXL``, if known.
        condition: A name of :data:`.conditions.CONDITIONS`, if known.
        training: How it was trained, as JSON, if known.
        bgr: Whether it expects BGR; None if unknown.

    Returns:
        Key -> text; unknown facts are left out.
    """
    known = {
        FAMILY_KEY: family,
        CONDITION_KEY: condition,
        KIND_KEY: config.kind,
        COLOR_ORDER_KEY: {True: "bgr", False: "rgb", None: None}[bgr],
        TRAINING_KEY: training,
    }
    return {"format": "pt", **{key: value for key, value in known.items() if value}}
