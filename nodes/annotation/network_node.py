"""What the nodes of annotators with a network have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from .network_annotator import NetworkAnnotator
from .network_cache import NETWORKS


class NetworkNode:
    """Keep the networks of a node loaded, and check the file chosen in ``weights``.

    Put it before ``io.ComfyNode`` among a node's bases: ComfyUI Manager only finds classes that name ComfyNode.

    Attributes:
        annotator: Whose weights the node uses.
    """

    annotator: ClassVar[NetworkAnnotator]

    def __init__(self) -> None:
        super().__init__()
        # ComfyUI makes an instance per node of the graph; a node's class is named as its id.
        self.owner = NETWORKS.owner(type(self).__name__)

    @classmethod
    def validate_inputs(cls, weights: str | None) -> bool | str:
        """Accept every file that exists, even if the entry says download."""
        return cls.annotator.weights.check(weights)

    @classmethod
    def fingerprint_inputs(cls, weights: str | None = None, **_: Any) -> object:
        """Run again when the file was replaced."""
        return cls.annotator.weights.fingerprint(weights)
