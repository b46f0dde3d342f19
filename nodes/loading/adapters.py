"""Load adapters, style adapters and fusers, and let ComfyUI manage their memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.combine import T2IFuser
from ...adapter_models.conditions import NAME
from ...adapter_models.features import FeatureCache
from ...adapter_models.info import AdapterInfo
from ...adapter_models.loading import load_adapter_file
from ...adapter_models.networks import Adapter, build_adapter
from ...adapter_models.style import T2IStyleAdapter
from ...adapter_models.style_and_fuser import FUSER, STYLE_ADAPTER, load_companion
from .. import host


def wrap_adapter(
    path: Path, name: str, member: str | None, *, bgr: bool | None, dtype: torch.dtype | None
) -> T2IAdapter:
    """Load an adapter into a model patcher.

    Args:
        path: A weights file or a diffusers folder.
        name: Name that the user chose, for messages.
        member: Entry of a CoAdapter bundle, or None.
        bgr: Swap red and blue; None decides by the file (SDXL pose adapters were trained on BGR).
        dtype: Precision to compute in; None for the diffusion model's.

    Returns:
        The adapter, wrapped in a model patcher.
    """
    network, info = load_adapter_file(path, name, member, host.OPERATIONS)
    notice = color_order_notice(info)
    if bgr is None and notice:
        (host.tell if info.color_order.told_by else host.warn)(notice, host.running_node() or None)
    return own_adapter(network, info, bgr=info.bgr if bgr is None else bgr, dtype=dtype)


def color_order_notice(info: AdapterInfo) -> str:
    """Return what to tell about the colour order if the file's content does not state it; empty if it does."""
    order = info.color_order
    if not info.takes_colors or order.told_by not in ("", NAME):
        return ""
    if order.told_by == NAME:
        known = f"{info.family or 'any model'}, {info.condition.name}" if info.condition else f"{info.family}"
        told = f"Colour order: {'bgr' if order.bgr else 'rgb'}, taken from {NAME} ({info.name}: {known})."
        return f"{told} If the file was renamed, choose rgb or bgr in color_order."
    return (
        f"Colour order: neither {info.name} nor its name tells, so rgb is assumed. If this is an openpose adapter "
        "for SDXL, choose bgr in color_order; if not, choose rgb."
    )


def own_adapter(network: Adapter, info: AdapterInfo, *, bgr: bool, dtype: torch.dtype | None) -> T2IAdapter:
    """Wrap an adapter in a model patcher, which ComfyUI manages; its layers come from host.OPERATIONS."""
    patcher = host.wrap_network(network)
    return T2IAdapter(network, info, FeatureCache(patcher.offload_device), bgr, dtype, patcher)


def copy_for(adapter: T2IAdapter, device: torch.device) -> T2IAdapter:
    """Copy an adapter to another device, with its own weights, its own patcher and an empty cache."""
    # Rebuilt, not deep-copied: ComfyUI attaches pinned buffers and device memory to networks that it streams, and a
    # deep copy would free those a second time.
    network = build_adapter(adapter.network.config, host.OPERATIONS, device="meta")
    weights = {name: weight.detach().to("cpu", copy=True) for name, weight in adapter.network.state_dict().items()}
    network.load_state_dict(weights, assign=True)
    network.eval().requires_grad_(False)
    patcher = host.wrap_network(network, device)
    return replace(adapter, network=network, patcher=patcher, cache=FeatureCache(patcher.offload_device))


def load_style_adapter(path: Path, name: str) -> T2IStyleAdapter:
    """Load a style adapter into a model patcher."""
    network = load_companion(STYLE_ADAPTER, path, name, host.OPERATIONS)
    return T2IStyleAdapter(network, name, host.wrap_network(network))


def load_fuser(path: Path, name: str) -> T2IFuser:
    """Load a CoAdapter fuser into a model patcher."""
    network = load_companion(FUSER, path, name, host.OPERATIONS)
    return T2IFuser(network, name, host.wrap_network(network))


def style_tokens(adapter: T2IStyleAdapter, hidden: Tensor) -> Tensor:
    """Compute a style's tokens.

    Args:
        adapter: The style adapter; ComfyUI loads it.
        hidden: (N, T, width), CLIP's last hidden state.

    Returns:
        (1, N · tokens, context) in fp32, on the device where ComfyUI keeps results.
    """
    host.load_models([adapter.patcher])
    device = adapter.patcher.load_device  # type: ignore[attr-defined]
    return adapter.tokens(hidden.to(device)).to(host.intermediate_device())
