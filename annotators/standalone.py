"""Annotators that need a network, without a host: from a weights file to a function on pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..common.files import read_weights
from .depth import normalize_depth
from .errors import FILE_ERRORS, AnnotatorError
from .keypoints import read_poses
from .networks import hed, lineart, pidinet, transformers_models
from .networks.depth_networks import estimate_depth
from .networks.label_networks import segment
from .networks.pose_networks import detect_pose
from .networks.transformers_models import LoadedModel
from .pose import draw_poses
from .segmentation import paint
from .weights import unwrap

FIX = "Fetch the file again, or choose the published weights of one of these networks."


@dataclass(frozen=True)
class NetworkKind:
    """A network that makes condition images, and how to recognise its weights.

    Attributes:
        key: What the network is called.
        mark: The name of a weight that no other network has.
        load: Builds the network from the tensors and the file's name.
        annotate: From the network and pictures (B, C, H, W) to condition images (B, 3, H, W).
    """

    key: str
    mark: str
    load: Callable[[Mapping[str, Any], str], nn.Module | LoadedModel]
    annotate: Callable[..., Tensor]


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
            AnnotatorError: The pictures or a setting can't be used.
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
        _kind_of(path.name, unwrap(path.name, outlines))  # refuses another network's file before reading its numbers
        return outlines

    content = unwrap(path.name, read_weights(path, FILE_ERRORS, known).tensors)
    kind = _kind_of(path.name, content)
    loaded = kind.load(content, path.name)
    network = loaded.network if isinstance(loaded, LoadedModel) else loaded
    network.to(device)
    return LoadedAnnotator(kind.key, network, partial(kind.annotate, loaded))


def _kind_of(where: str, content: Mapping[str, Any]) -> NetworkKind:
    for kind in KINDS:
        if kind.mark in content:
            return kind
    known = ", ".join(kind.key for kind in KINDS)
    raise AnnotatorError(where, "weights of another network", f"one of {known}", FIX)


def _depth(loaded: LoadedModel, images: Tensor, gamma: float = 0.0) -> Tensor:
    """Estimate depth and normalize it as the adapters of this network were trained: near is white."""
    gives = loaded.model.gives
    return normalize_depth(estimate_depth(loaded, images), "zoe" if gives == "depth" else "midas", gives, gamma)


def _segmentation(loaded: LoadedModel, images: Tensor) -> Tensor:
    return paint(segment(loaded, images))


def _pose(loaded: LoadedModel, images: Tensor, **settings: Any) -> Tensor:
    """Find the joints of one person per picture and draw them."""
    height, width = images.shape[-2:]
    frames = [
        {
            "people": [{"pose_keypoints_2d": joints.flatten().tolist()} for joints in people],
            "canvas_width": width,
            "canvas_height": height,
        }
        for people in detect_pose(loaded, images)
    ]
    return draw_poses(read_poses(frames), **settings)


def _of_transformers(key: str) -> Callable[[Mapping[str, Any], str], LoadedModel]:
    return lambda content, name: transformers_models.load_model(transformers_models.find_model(key), content, name)


def _transformers_kind(key: str, annotate: Callable[..., Tensor]) -> NetworkKind:
    return NetworkKind(key, transformers_models.find_model(key).mark, _of_transformers(key), annotate)


KINDS = (
    NetworkKind("pidinet", "block1_1.conv1.weight", pidinet.load, pidinet.pidinet_edges),
    NetworkKind("hed", "block1.convs.0.weight", hed.load, hed.hed_edges),
    NetworkKind("lineart", "model0.1.weight", lineart.load, lineart.lineart_lines),
    _transformers_kind("dpt-hybrid", _depth),
    _transformers_kind("dpt-large", _depth),
    _transformers_kind("zoedepth-nk", _depth),
    _transformers_kind("depth-anything-v2-small", _depth),
    _transformers_kind("maskformer-coco-stuff", _segmentation),
    _transformers_kind("vitpose-base-simple", _pose),
)
