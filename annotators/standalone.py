"""Load an annotator that needs a network from its weights file, as a function on pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..common.files import read_weights
from .errors import ANNOTATOR_FILE_ERRORS, AnnotatorError
from .network_rows import NetworkAnnotator
from .networks.transformers_models import LoadedModel
from .table import NETWORK_ANNOTATORS, recognise
from .weights import unwrap


@dataclass(frozen=True)
class LoadedAnnotator:
    """An annotator with its network; call it with pictures.

    Attributes:
        key: What the network is called, such as ``pidinet`` or ``dpt-hybrid``.
        network: The network. It can be moved to another device or precision.
        annotate: From pictures, and the settings of this network, to condition images.
    """

    key: str
    network: nn.Module
    annotate: Callable[..., Tensor]

    @torch.no_grad()
    def __call__(self, images: Tensor, **settings: Any) -> Tensor:
        """Make condition images as the published adapters were trained with.

        Args:
            images: (B, C, H, W) in [0, 1], on the network's device.
            settings: ``threshold`` for PiDiNet and HED (0 for soft lines); ``gamma`` for depth; ``style``,
                ``stick_width`` and ``max_people`` for poses, as of the functions that draw them.

        Returns:
            (B, 3, H, W) float32 in [0, 1], on the device of the pictures.

        Raises:
            AnnotatorError: The pictures or a setting are not valid.
        """
        return self.annotate(images, **settings).to(images.device)


def load_annotator(path: str | Path, *, device: torch.device | str = "cpu") -> LoadedAnnotator:
    """Load an annotator from its published weights; the weights tell which one it is.

    Args:
        path: Weights of PiDiNet, HED, line art, DPT, ZoeDepth, Depth Anything, MaskFormer or ViTPose. Renamed files
            are recognised. Nothing is downloaded.
        device: Where to compute.

    Returns:
        A function from pictures (B, C, H, W) in [0, 1] to condition images (B, 3, H, W).

    Raises:
        AnnotatorError: The file is missing, damaged or of another network, or transformers is missing or too old.
    """
    path = Path(path)

    def known(outlines: dict[str, Tensor]) -> dict[str, Tensor]:
        _row_of(path.name, unwrap(path.name, outlines))  # refuses another network's file before reading its numbers
        return outlines

    content = unwrap(path.name, read_weights(path, ANNOTATOR_FILE_ERRORS, known).tensors)
    row = _row_of(path.name, content)
    loaded = row.load(content, path.name, nn).to(device)
    network = loaded.network if isinstance(loaded, LoadedModel) else loaded
    return LoadedAnnotator(row.key, network, partial(row.annotate, loaded))


def _row_of(where: str, content: Mapping[str, Any]) -> NetworkAnnotator:
    row = recognise(content)
    if row is None:
        known = ", ".join(each.key for each in NETWORK_ANNOTATORS)
        raise AnnotatorError(
            where,
            "weights of another network",
            f"one of {known}",
            "Fetch the file again, or choose the published weights of one of these networks.",
            says="This file holds weights of a network that is not an annotator's.",
        )
    return row
