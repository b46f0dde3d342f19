"""Run an annotator's network: its file found, its weights loaded once, its memory in ComfyUI's hands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor, nn

from ...annotators.catalogue import published_as, published_for
from ...annotators.errors import FILE_ERRORS, AnnotatorError
from ...annotators.images import at_resolution, check_images
from ...annotators.networks import hed, lineart, pidinet, transformers_models
from ...common.files import read
from .. import host
from .network_cache import NETWORKS
from .pictures import in_parts, to_planes
from .weight_files import AUTO, WeightsChoice, stamp

logger = logging.getLogger(__name__)
# Builds a network from (tensors, file name).
Load = Callable[[Mapping[str, Any], str], nn.Module]


@dataclass(frozen=True)
class NetworkAnnotator:
    """An annotator that needs weights.

    Attributes:
        annotator: Its name in the catalogue.
        load: Builds its network.
        bytes_per_pixel: What its forward takes at most, for each pixel of a picture.
        pixels: About how many pixels go through it together.
    """

    annotator: str
    load: Load
    bytes_per_pixel: int
    pixels: int

    @property
    def weights(self) -> WeightsChoice:
        """What its weights combo offers."""
        return WeightsChoice(published_for(self.annotator))


class TransformersModule(nn.Module):
    """A network of transformers with what is known about it, as one module for ComfyUI to move.

    Args:
        loaded: The two.
    """

    def __init__(self, loaded: transformers_models.LoadedModel) -> None:
        super().__init__()
        self.model = loaded.model
        self.network = loaded.network

    @property
    def loaded(self) -> transformers_models.LoadedModel:
        """The two again, for the annotators."""
        return transformers_models.LoadedModel(self.model, self.network)


# A weight that only this network has: tells what a file of another name holds.
MARKS = (
    ("dpt-hybrid", "dpt.embeddings.backbone.bit.embedder.convolution.weight"),
    ("dpt-large", "dpt.embeddings.patch_embeddings.projection.weight"),
    ("zoedepth-nk", "relative_head.conv1.weight"),
    ("depth-anything-v2-small", "head.conv3.weight"),
    ("maskformer-coco-stuff", "class_predictor.weight"),
    ("vitpose-base-simple", "head.conv.weight"),
)


def _transformer(annotator: str) -> Load:
    """Return what loads the networks of an annotator that transformers has."""
    keys = [row.key for row in published_for(annotator)]

    def load(content: Mapping[str, Any], name: str) -> nn.Module:
        row = published_as(name)
        marked = (key for key, mark in MARKS if key in keys and mark in content)
        key = row.key if row is not None else next(marked, None)
        if key is None:
            raise AnnotatorError(name, "weights of none of these", ", ".join(keys), "Choose one of those in weights.")
        return TransformersModule(transformers_models.load_model(transformers_models.find_model(key), content, name))

    return load


def _ours(load: Callable[[Mapping[str, Any], str, Any], nn.Module]) -> Load:
    """Return what loads a network of our own, of layers that ComfyUI knows."""
    return lambda content, name: load(content, name, host.OPERATIONS)


MEGAPIXEL = 1 << 20
# Bytes per pixel are bounds: some 60 channels at full size and their copies; scores of all classes; attention.
SKETCH = NetworkAnnotator("sketch", _ours(pidinet.load), 1300, MEGAPIXEL)
SOFT_EDGE = NetworkAnnotator("soft edge", _ours(hed.load), 1300, MEGAPIXEL)
LINEART = NetworkAnnotator("lineart", _ours(lineart.load), 1300, MEGAPIXEL)
DEPTH = NetworkAnnotator("depth", _transformer("depth"), 2000, MEGAPIXEL // 4)
SEGMENTATION = NetworkAnnotator("segmentation", _transformer("segmentation"), 2000, MEGAPIXEL // 4)
POSE = NetworkAnnotator("pose", _transformer("pose"), 2000, MEGAPIXEL // 4)


def weights_input(weights: WeightsChoice, more: str = "") -> Any:
    """Return the combo of weights."""
    return io.Combo.Input(
        "weights",
        options=weights.options(),
        default=AUTO,
        tooltip="The network's file, in models/annotators or where another pack keeps it. auto (default): the "
        "recommended one; nothing is downloaded. A 'download' entry fetches that file when the node runs, once."
        f"{more}",
    )


@dataclass(frozen=True)
class AnnotationJob:
    """Pictures for an annotator that needs weights.

    Attributes:
        node: The node's id, whose instances keep the network.
        where: The node's name, for messages.
        image: An IMAGE (B, H, W, C).
        resolution: Short side at which to look; 0 for the image's own.
        entry: Of the weights combo.
        file: The weights' file itself, where no entry of the combo has chosen it.
    """

    node: str
    where: str
    image: Tensor
    resolution: int = 0
    entry: str = AUTO
    file: Path | None = None

    def run(
        self,
        learned: NetworkAnnotator,
        draw: Callable[[Any, Tensor], Tensor],
        finish: Callable[[Tensor], Tensor] = lambda result: result,
        mode: Any = "smooth",
        offer: WeightsChoice | None = None,
    ) -> io.NodeOutput:
        """Annotate the pictures.

        Args:
            learned: The annotator.
            draw: From its network and some pictures, on the device where it is, to results (b, 3, h, w).
            finish: What happens to results that have the pictures' size again.
            mode: How they come to it; see :func:`at_resolution`.
            offer: What the entry may mean, if not all of the annotator's weights.

        Returns:
            The node's output, (B, H, W, 3) in [0, 1].

        Raises:
            AnnotatorError: No pictures, before anything else; no weights, or wrong ones.
        """
        planes = self.planes()
        network, device = self.network(learned, offer)

        def annotate(part: Tensor) -> Tensor:
            at = at_resolution(part.to(device), self.resolution, lambda small: draw(network, small), mode)
            return finish(at)

        return in_parts(planes, annotate, learned.pixels)

    def planes(self) -> Tensor:
        """Return the pictures as (B, 3, H, W), checked."""
        if self.resolution < 0:
            expected = "0 (the picture's own) or a short side in pixels"
            raise AnnotatorError(f"{self.where}, resolution", str(self.resolution), expected, "0 is right for most.")
        return check_images(f"{self.where}, image", to_planes(self.image))

    def _find(self, offer: WeightsChoice) -> tuple[str, Path]:
        return offer.find(self.entry, host.progress()) if self.file is None else (self.file.name, self.file)

    def network(self, learned: NetworkAnnotator, offer: WeightsChoice | None = None) -> tuple[Any, torch.device]:
        """Return the network, loaded, and where it computes."""
        name, path = self._find(offer or learned.weights)
        logger.info("%s: %s", self.where, path)
        key = (learned.annotator, name, *stamp(path))
        patcher = NETWORKS.get(self.node, key, lambda: build(learned, name, path))
        count, height, width = self.image.shape[:3]
        together = min(count * height * width, max(learned.pixels, height * width))
        return patcher.model, host.load_annotator(patcher, learned.bytes_per_pixel * together)


def build(learned: NetworkAnnotator, name: str, path: Path) -> nn.Module:
    """Read a file and build its network.

    Raises:
        AnnotatorError: The file is damaged, or of another network.
    """
    return learned.load(read(path, FILE_ERRORS).tensors, name)
