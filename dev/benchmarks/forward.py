"""The forward of an adapter's network: ours, diffusers' and ComfyUI's own, with the same weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch

from . import models, report
from .measure import Patience, interleave, ratios, summarise, timed
from .options import Options


def run(options: Options) -> report.Section:
    """Run the networks by turns, in each precision."""
    scale = models.Scale(options.device, options.family, options.quick)
    size = 64 if options.quick else 1024 if options.family == "SDXL" else 512
    dtypes = [torch.float32, torch.bfloat16, *([torch.float16] if options.device.type == "cuda" else [])]
    head = ("ratio", "median (quartiles; sure; rounds)", "holds (≤ 1)")
    tables = []
    for dtype in dtypes:
        times = _measure(scale, size, dtype, options)
        name = str(dtype).removeprefix("torch.")
        figures = report.Table(("network", "ms"), caption=f"{name}, {size}×{size}")
        for variant, seconds in times.items():
            figures.add(variant, report.spread(summarise([1e3 * each for each in seconds]), 2))
        compared = report.Table(head, caption=f"{name}, compared")
        for other in RIVALS:
            figure = summarise(ratios(times["ours"], times[other]))
            compared.add(f"ours / {other}", report.spread(figure), report.verdict(figure, 1.0))
        tables += [figures, compared]
    notes = (
        "*ours, float32 file* is the network as loaded from a float32 file, with ComfyUI's layers casting each weight "
        "as they compute. A run needs one forward per picture, so this is not a cost per step.",
    )
    return report.Section(options.key("forward"), f"Adapter forward, full {scale.family} adapter", tables, notes)


def _measure(scale: models.Scale, size: int, dtype: torch.dtype, options: Options) -> dict[str, list[float]]:
    hint = models.picture(size, 0).movedim(-1, 1).contiguous().to(options.device, dtype)
    networks = {name: make(scale, dtype) for name, make in NETWORKS.items() if name in ("ours", *RIVALS)}
    if dtype != torch.float32:
        networks["ours, float32 file"] = _as_loaded(scale, torch.float32)

    def turn(network: Callable[[torch.Tensor], Any]) -> float:
        with torch.inference_mode():
            return timed(lambda: network(hint), options.device)

    turns = {name: lambda network=network: turn(network) for name, network in networks.items()}
    for warm_up in turns.values():
        warm_up()
    most = 3 if options.quick else 400
    patience = Patience(min(most, 20), most, 0.0 if options.quick else 60.0 * options.patience, 0.002)
    return interleave(turns, patience, [("ours", other) for other in RIVALS])


def _as_loaded(scale: models.Scale, dtype: torch.dtype) -> torch.nn.Module:
    network: torch.nn.Module = models.our_adapter(scale).network
    return network.to(scale.device, dtype)


def _diffusers(scale: models.Scale, dtype: torch.dtype) -> torch.nn.Module:
    from diffusers import T2IAdapter

    config = models.adapter_config(scale)
    network: torch.nn.Module = T2IAdapter(
        in_channels=config.image_channels,
        channels=list(config.channels),
        num_res_blocks=config.num_res_blocks,
        downscale_factor=config.unshuffle,
        adapter_type="full_adapter_xl" if scale.family == "SDXL" else "full_adapter",
    )
    models.randomise(network, 1)
    # Module.to directly, to avoid diffusers' warning about precisions.
    return torch.nn.Module.to(network, scale.device, dtype).eval()


def _core(scale: models.Scale, dtype: torch.dtype) -> torch.nn.Module:
    network: torch.nn.Module = models.core_adapter(scale).t2i_model
    return network.to(scale.device, dtype).eval()


NETWORKS: dict[str, Callable[[models.Scale, torch.dtype], torch.nn.Module]] = {
    "ours": _as_loaded,
    "diffusers": _diffusers,
    "core": _core,
}
# diffusers is one of the test tools; it is skipped if it is not installed.
RIVALS = ("diffusers", "core") if importlib.util.find_spec("diffusers") else ("core",)
