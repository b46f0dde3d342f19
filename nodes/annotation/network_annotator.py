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
from ...annotators.errors import ANNOTATOR_FILE_ERRORS, AnnotatorError
from ...annotators.images import at_resolution, check_images
from ...annotators.network_rows import NetworkAnnotator
from ...annotators.networks.transformers_models import FromTransformers
from ...annotators.table import networks_of, recognise
from ...annotators.weights import unwrap
from ...common.files import read_weights
from .. import host
from .network_cache import LOADED_NETWORKS
from .pictures import in_parts, to_planes
from .weight_files import AUTO, WeightsChoice, stamp

_log = logging.getLogger(__name__)


def weights_choice(annotator: str) -> WeightsChoice:
    """Return the choices of the weights combo of an annotator's node."""
    return WeightsChoice(published_for(annotator))


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
        annotator: str,
        draw: Callable[[Any, Tensor], Tensor],
        finish: Callable[[Tensor], Tensor] = lambda result: result,
        mode: Any = "smooth",
        offer: WeightsChoice | None = None,
    ) -> io.NodeOutput:
        """Annotate the images.

        Args:
            annotator: Its name, as in the rows of ``annotators.table``.
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

        return in_parts(planes, annotate_part, pixels_at_once(annotator))

    def planes(self) -> Tensor:
        """Return the checked images as (B, 3, H, W)."""
        return check_images(f"{self.where}, image", to_planes(self.image))

    def _find(self, offer: WeightsChoice) -> tuple[str, Path]:
        return offer.find(self.entry, host.progress()) if self.file is None else (self.file.name, self.file)

    def network(self, annotator: str, offer: WeightsChoice | None = None) -> tuple[Any, torch.device]:
        """Return the loaded network and the device where it computes."""
        name, path = self._find(offer or weights_choice(annotator))
        _log.info("%s: %s", self.where, path)
        key = (annotator, name, *stamp(path))
        patcher = LOADED_NETWORKS.get(self.node, key, lambda: read_network(annotator, name, path))
        count, height, width = self.image.shape[:3]
        memory = networks_of(annotator)[0].memory
        together = min(count * height * width, max(memory.pixels, height * width))
        return patcher.model, host.load_patcher(patcher, memory.bytes_per_pixel * together)


def pixels_at_once(annotator: str) -> int:
    """Return the pixels per forward pass of an annotator's networks, roughly."""
    return networks_of(annotator)[0].memory.pixels


def read_network(annotator: str, name: str, path: Path) -> nn.Module:
    """Read a file and build its network. Of a file of another network, only names and shapes are read.

    Args:
        annotator: Name of the annotator.
        name: Name of the file, for messages; a published one tells which network it holds.
        path: The file.

    Raises:
        AnnotatorError: The file is damaged, or belongs to another network.
    """

    def load(content: Mapping[str, Any]) -> nn.Module:
        tensors = unwrap(name, content)
        return _network_in(annotator, name, tensors).load(tensors, name, host.OPERATIONS)

    def rehearsed(outlines: dict[str, Tensor]) -> dict[str, Tensor]:
        load(outlines)
        return outlines

    return load(read_weights(path, ANNOTATOR_FILE_ERRORS, rehearsed).tensors)


def _network_in(annotator: str, name: str, tensors: Mapping[str, Tensor]) -> NetworkAnnotator:
    """Return the row of the network in a file: that of its published name, else that of a mark among its weights."""
    rows = networks_of(annotator)
    named = published_as(name, [file for row in rows for file in row.files])
    row = next((row for row in rows if named in row.files), None) or recognise(tensors, rows)
    if row is None and not isinstance(rows[0].load, FromTransformers):
        return rows[0]  # the loaders of our own networks say what is missing
    if row is None:
        raise AnnotatorError(
            name,
            "weights of none of these",
            ", ".join(row.key for row in rows),
            "Choose one of those in weights.",
            says=f"This file does not hold a network for {annotator}.",
        )
    return row
