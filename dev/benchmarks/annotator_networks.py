"""The line networks: ours and controlnet_aux's, with the same weights and pictures."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...annotators.networks import hed, lineart, pidinet
from . import probe, report
from .measure import Patience, interleave, one_thread, ratios, summarise, timed
from .options import Options
from .photographs import photographs, pictures

PEER = "controlnet_aux"
GOAL = 1 / 1.3
# Side of the pictures, batch size, minimum number of rounds.
CASES = ((512, 1, 6), (512, 8, 6), (1024, 1, 6), (1024, 8, 3))
QUICK = ((64, 2, 2),)
NOTES = (
    "Float32, one thread, photographs. Ours is the whole annotator, including checks; theirs is the network and the "
    "conversion of its output to lines, without resizing and without conversion to Pillow and back.",
    "Peak: the largest growth of the process during one call, without the weights.",
)


@dataclass(frozen=True)
class Network:
    """One network in both implementations.

    Attributes:
        name: Name of its row.
        load: Builds our network from a weights file's content.
        draw: Ours: network and pictures -> lines.
        module: Name of their module.
        make: Builds their network from that module, with random weights.
        lines: Theirs: network and pictures -> lines.
    """

    name: str
    load: Callable[..., torch.nn.Module]
    draw: Callable[[torch.nn.Module, Tensor], Tensor]
    module: str
    make: Callable[[Any], torch.nn.Module]
    lines: Callable[[torch.nn.Module, Tensor], Tensor]


def _hed_lines(network: torch.nn.Module, images: Tensor) -> Tensor:
    """Do for a whole batch what controlnet_aux does picture by picture, which favours it."""
    sides = [functional.interpolate(side, images.shape[-2:], mode="bilinear") for side in network(images * 255)]
    return torch.sigmoid(torch.stack(sides).mean(0))


NETWORKS = (
    Network(
        "PiDiNet",
        pidinet.load_pidinet,
        lambda network, images: pidinet.pidinet_edges(network, images, 0),
        "pidi.model",
        lambda module: module.pidinet(),
        lambda network, images: network(images)[-1],
    ),
    Network("HED", hed.load_hed, hed.hed_edges, "hed", lambda module: module.ControlNetHED_Apache2(), _hed_lines),
    Network(
        "lineart",
        lineart.load_lineart,
        lineart.lineart_lines,
        "lineart",
        lambda module: module.Generator(3, 1, 3),
        lambda network, images: 1 - network(images),
    ),
)


def run(options: Options) -> Iterator[report.Section]:
    """Time both on the same photographs by turns, one at a time and in a batch, on one CPU thread.

    Yields:
        The results so far, after each case: all cases together take more than an hour.
    """
    title = "Line annotators, against controlnet_aux"
    if importlib.util.find_spec(PEER) is None:
        yield report.Section(options.key("annotator_networks"), title, [], (f"{PEER} is not installed.",))
        return
    head = (
        "network",
        "size",
        "pictures",
        "ours, ms per picture",
        "theirs, ms per picture",
        "peak, ours",
        "peak, theirs",
    )
    figures = report.Table(head)
    head = ("ours / controlnet_aux", "size", "pictures", "median (quartiles; sure; rounds)", "holds (≤ 1/1.3)",
            "differ by")  # fmt: skip
    compared = report.Table(head)
    with one_thread():
        for network, (size, batch, rounds) in itertools.product(NETWORKS, QUICK if options.quick else CASES):
            patience = Patience(rounds, 40, 0.0 if options.quick else 60.0 * options.patience, 0.01)
            times, peaks, differ = measure(network, (size, batch), options.device, patience)
            each = (summarise([1e3 * seconds / batch for seconds in times[name]]) for name in ("ours", "theirs"))
            memory = (report.megabytes(peaks[name]) for name in ("ours", "theirs"))
            figures.add(network.name, size, batch, *(report.spread(figure, 1) for figure in each), *memory)
            ratio = summarise(ratios(times["ours"], times["theirs"]))
            compared.add(network.name, size, batch, report.spread(ratio), report.verdict(ratio, GOAL), f"{differ:.0e}")
            yield report.Section(options.key("annotator_networks"), title, [figures, compared], NOTES)


def measure(
    network: Network, case: tuple[int, int], device: torch.device, patience: Patience
) -> tuple[dict[str, list[float]], dict[str, int], float]:
    """Time both networks on the same pictures by turns.

    Args:
        network: The network.
        case: Side of the pictures, and batch size.
        device: Device to compute on.
        patience: When to stop.

    Returns:
        Seconds per call and bytes of peak memory of each, and the largest difference between the outputs.
    """
    torch.manual_seed(0)
    size, batch = case
    theirs = network.make(peer(network.module)).eval()
    ours = network.load(theirs.state_dict()).to(device)
    theirs.to(device)
    images = pictures(photographs(size, batch), device)
    work = {"ours": lambda: network.draw(ours, images), "theirs": lambda: network.lines(theirs, images)}

    def turn(name: str) -> float:
        with torch.inference_mode():
            return timed(work[name], device)

    drawn: dict[str, Tensor] = {}
    with torch.inference_mode():
        # One-time set-up is not part of the peak.
        corner = images[..., :64, :64]
        network.draw(ours, corner), network.lines(theirs, corner)
        draw = {name: lambda name=name: drawn.update({name: work[name]()}) for name in work}  # type: ignore[misc]
        peaks = {name: probe.device_peak(each, device) for name, each in draw.items()}
    differ = float((drawn["ours"][:, :1] - drawn["theirs"]).abs().max())
    turns = {name: lambda name=name: turn(name) for name in work}  # type: ignore[misc]
    return interleave(turns, patience, [("ours", "theirs")]), peaks, differ


def peer(name: str) -> Any:
    """Import one module of controlnet_aux without its package, which imports and warns about much more."""
    if PEER not in sys.modules:
        spec = importlib.util.find_spec(PEER)
        package = types.ModuleType(PEER)
        package.__path__ = [str(Path(str(spec.origin)).parent)] if spec else []
        sys.modules[PEER] = package
    return importlib.import_module(f"{PEER}.{name}")
