"""The row type of annotators that need a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from .published_files import PublishedFile

# From the tensors of a weights file, the file's name for messages, and the namespace of the layers.
NetworkLoader = Callable[[Mapping[str, Any], str, Any], nn.Module]


@dataclass(frozen=True)
class TrainedPreset:
    """The settings that reproduce the training images of a condition's published adapters.

    Attributes:
        condition: Name of the condition; see ``adapter_models.conditions``.
        family: Family of the adapters; empty for every family without a preset of its own.
        resolution: Short side in pixels to annotate at; 0 for the picture's own.
        settings: Settings of the annotator that differ from its defaults.
        stand_ins: Keys of networks that replace this one where its file is missing, the best first.
    """

    condition: str
    family: str = ""
    resolution: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    stand_ins: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForwardMemory:
    """What a forward pass needs.

    Attributes:
        bytes_per_pixel: Upper bound on its memory, per pixel of the pictures.
        pixels: Pixels per forward pass, roughly.
    """

    bytes_per_pixel: int
    pixels: int


@dataclass(frozen=True)
class NetworkAnnotator:
    """An annotator's network: everything that the pack knows about it.

    Attributes:
        files: Its published weights, the recommended first; they also give its key and the annotator's name.
        mark: Name of a weight that no other network has: it identifies renamed files.
        load: Builds the network from the content of a weights file.
        annotate: From network, pictures (B, C, H, W) and settings to condition images (B, 3, H, W).
        memory: What a forward pass needs.
        presets: What the published adapters were trained with; empty where no adapter was trained with this network.
    """

    files: tuple[PublishedFile, ...]
    mark: str
    load: NetworkLoader
    annotate: Callable[..., Tensor]
    memory: ForwardMemory
    presets: tuple[TrainedPreset, ...] = ()

    @property
    def key(self) -> str:
        """Name of the network, such as ``pidinet``."""
        return self.files[0].key

    @property
    def annotator(self) -> str:
        """Name of the annotator, such as ``sketch``; several networks can serve one annotator."""
        return self.files[0].annotator
