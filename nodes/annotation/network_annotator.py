"""Run an annotator's network: find its file, load it once, let ComfyUI manage its memory."""

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
from ...annotators.networks.published_models import MODELS
from ...common.files import read_weights
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
        name: Its name in the catalogue.
        load: Builds its network.
        bytes_per_pixel: Upper bound on the memory of a forward pass, per image pixel.
        pixels: Pixels per forward pass, roughly.
    """

    name: str
    load: Load
    bytes_per_pixel: int
    pixels: int

    @property
    def weights(self) -> WeightsChoice:
        """The choices of its weights combo."""
        return WeightsChoice(published_for(self.name))


class TransformersModule(nn.Module):
    """A network from transformers and its model row, as one module that ComfyUI can move.

    Args:
        loaded: The row and the network.
    """

    def __init__(self, loaded: transformers_models.LoadedModel) -> None:
        super().__init__()
        self.model = loaded.model
        self.network = loaded.network

    @property
    def loaded(self) -> transformers_models.LoadedModel:
        """The model row and its network, as a LoadedModel."""
        return transformers_models.LoadedModel(self.model, self.network)


def _transformer(annotator: str) -> Load:
    """Return the loader of an annotator's networks from transformers."""
    keys = [row.key for row in published_for(annotator)]

    def load(content: Mapping[str, Any], name: str) -> nn.Module:
        row = published_as(name)
        marked = (model.key for model in MODELS if model.key in keys and model.mark in content)
        key = row.key if row is not None else next(marked, None)
        if key is None:
            raise AnnotatorError(name, "weights of none of these", ", ".join(keys), "Choose one of those in weights.")
        return TransformersModule(transformers_models.load_model(transformers_models.find_model(key), content, name))

    return load


def _ours(load: Callable[[Mapping[str, Any], str, Any], nn.Module]) -> Load:
    """Return the loader of one of our own networks, built from ComfyUI's layers."""
    return lambda content, name: load(content, name, host.OPERATIONS)


MEGAPIXEL = 1 << 20
# Bytes per pixel are upper bounds. Line networks: about 60 channels at full size, with copies. Networks from
# transformers: the scores of all classes, and attention.
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
    """Images to annotate with a network, and the choice of its weights.

    Attributes:
        node: Id of the node class, whose instances keep the network loaded.
        where: Name of the node, for messages.
        image: An IMAGE (B, H, W, C).
        resolution: Short side in pixels to annotate at; 0 for the image's own.
        entry: Entry of the weights combo.
        file: Path of the weights, instead of an entry of the combo.
    """

    node: str
    where: str
    image: Tensor
    resolution: int = 0
    entry: str = AUTO
    file: Path | None = None

    def run(
        self,
        annotator: NetworkAnnotator,
        draw: Callable[[Any, Tensor], Tensor],
        finish: Callable[[Tensor], Tensor] = lambda result: result,
        mode: Any = "smooth",
        offer: WeightsChoice | None = None,
    ) -> io.NodeOutput:
        """Annotate the images.

        Args:
            annotator: The annotator.
            draw: Maps (network, images on its device) to results (b, 3, h, w).
            finish: Runs on the results after they are resized to the images' size.
            mode: How results are resized; see :func:`at_resolution`.
            offer: Files that the entry may mean; all of the annotator's by default.

        Returns:
            The node's output, (B, H, W, 3) in [0, 1].

        Raises:
            AnnotatorError: The input is not an image (checked first), or the weights are missing or wrong.
        """
        planes = self.planes()
        network, device = self.network(annotator, offer)

        def annotate_part(part: Tensor) -> Tensor:
            at = at_resolution(part.to(device), self.resolution, lambda small: draw(network, small), mode)
            return finish(at)

        return in_parts(planes, annotate_part, annotator.pixels)

    def planes(self) -> Tensor:
        """Return the checked images as (B, 3, H, W)."""
        return check_images(f"{self.where}, image", to_planes(self.image))

    def _find(self, offer: WeightsChoice) -> tuple[str, Path]:
        return offer.find(self.entry, host.progress()) if self.file is None else (self.file.name, self.file)

    def network(self, annotator: NetworkAnnotator, offer: WeightsChoice | None = None) -> tuple[Any, torch.device]:
        """Return the loaded network and the device where it computes."""
        name, path = self._find(offer or annotator.weights)
        logger.info("%s: %s", self.where, path)
        key = (annotator.name, name, *stamp(path))
        patcher = NETWORKS.get(self.node, key, lambda: build(annotator, name, path))
        count, height, width = self.image.shape[:3]
        together = min(count * height * width, max(annotator.pixels, height * width))
        return patcher.model, host.load_patcher(patcher, annotator.bytes_per_pixel * together)


def build(annotator: NetworkAnnotator, name: str, path: Path) -> nn.Module:
    """Read a file and build its network. Of a file of another network, only names and shapes are read.

    Raises:
        AnnotatorError: The file is damaged, or belongs to another network.
    """

    def rehearsed(outlines: dict[str, Tensor]) -> dict[str, Tensor]:
        annotator.load(outlines, name)
        return outlines

    return annotator.load(read_weights(path, FILE_ERRORS, rehearsed).tensors, name)
