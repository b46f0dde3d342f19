"""PiDiNet, HED, line art and depth, against controlnet_aux."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .. import report
from ..annotator_networks import GOAL, NETWORKS, Network, measure
from ..measure import ratios, summarise
from .setting import Row, Setting


class _Depth(nn.Module):
    """Our loaded network, as a module that can change its device."""

    def __init__(self) -> None:
        super().__init__()
        from ....annotators.networks import transformers_models
        from ....annotators.networks.transformers_configs import DPT_HYBRID

        network = transformers_models.build_network(DPT_HYBRID).eval().requires_grad_(False)
        self.loaded = transformers_models.LoadedModel(DPT_HYBRID, network)
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0 to 1 -> (B, 1, H, W) in 0 to 1."""
        from ....annotators import depth
        from ....annotators.networks import depth_networks

        return depth.normalize_depth(depth_networks.estimate_depth(self.loaded, images))


def _their_depth(network: nn.Module, images: Tensor) -> Tensor:
    """Do what the detector does with one picture, without conversion from and to bytes."""
    found: Tensor = network(images * 2 - 1)
    found = found - found.amin()
    return (found / found.amax()).view(len(images), 1, *images.shape[-2:])


def _midas(module: Any) -> nn.Module:
    network: nn.Module = module.DPTDepthModel(path=None, backbone="vitb_rn50_384", non_negative=True)
    return network


DRAWN = (
    *NETWORKS,
    # Each has its own random weights, since names and order differ. The amount of work is the same.
    Network("depth (DPT-Hybrid)", lambda _: _Depth(), lambda network, images: network(images)[:, :1],
            "midas.midas.dpt_depth", _midas, _their_depth),
)  # fmt: skip


def _side(setting: Setting) -> int:
    """Return the side of the pictures: DPT-Hybrid's own size, so that both do the same work."""
    return 64 if setting.small else 384


def cases(setting: Setting) -> list[tuple[str, str]]:
    """Return (table, case) of every row."""
    return [("annotators", f"{network.name}, {_side(setting)}") for network in DRAWN]


def run(setting: Setting) -> Iterator[Row]:
    """Time both on the same photograph by turns."""
    torch.set_float32_matmul_precision("highest")
    side = _side(setting)
    for number, network in enumerate(DRAWN):
        times, peaks, _ = measure(network, (side, 1), setting.device, setting.patience(len(DRAWN) - number, 0.01))
        figures = [summarise([1e3 * each for each in times[name]]) for name in ("ours", "theirs")]
        ratio = summarise(ratios(times["ours"], times["theirs"]))
        yield (
            "annotators",
            (
                f"{network.name}, {side}",
                *(report.spread(figure, 2) for figure in figures),
                report.spread(ratio),
                report.verdict(ratio, GOAL),
                *(report.megabytes(peaks[name]) for name in ("ours", "theirs")),
            ),
        )
