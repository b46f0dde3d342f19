"""The base of nodes whose annotator needs a network."""

from __future__ import annotations

from typing import Any, ClassVar

from .network_annotator import weights_choice, weights_input
from .network_cache import LOADED_NETWORKS
from .pictures import image_input, resolution_input


class NetworkNode:
    """Keep a node's networks loaded, and check the file chosen in ``weights``.

    Put it before ``io.ComfyNode`` among a node's bases: ComfyUI Manager finds only classes that name ComfyNode.

    Attributes:
        annotator: Name of the annotator, as in the rows of ``annotators.table``.
    """

    annotator: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        # ComfyUI makes one instance per node of the graph. Classes are named as their node ids.
        self.owner = LOADED_NETWORKS.owner(type(self).__name__)

    @classmethod
    def network_inputs(cls, resolution: str = "", weights: str = "") -> list[Any]:
        """Return the inputs of every network annotator: image, resolution, weights.

        Args:
            resolution: Added to the tooltip of ``resolution``.
            weights: Added to the tooltip of ``weights``.
        """
        return [image_input(), resolution_input(resolution), weights_input(weights_choice(cls.annotator), weights)]

    @classmethod
    def validate_inputs(cls, weights: str | None) -> bool | str:
        """Accept every file that exists, even if the entry says download."""
        return weights_choice(cls.annotator).check(weights)

    @classmethod
    def fingerprint_inputs(cls, weights: str | None = None, **_: Any) -> object:
        """Run again when the file was replaced."""
        return weights_choice(cls.annotator).fingerprint(weights)
