"""What Apply T2I-Adapter says on its node about inputs that are legal but seldom meant."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.applied import AppliedAdapter
from .. import host
from .base_model import other_version
from .hint_mistakes import crop_mistake, image_mistake, mask_mistake


@dataclass(frozen=True)
class ApplyNotice:
    """The texts of one Apply T2I-Adapter.

    Attributes:
        node: The node's id, or None outside of a graph.
        texts: What its inputs alone tell.
    """

    node: str | None
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: Any, adapter: T2IAdapter, hint: Tensor, mask: Tensor | None, node: str | None) -> ApplyNotice:
        """Look at the node's inputs, already checked.

        Args:
            model: The MODEL.
            adapter: The adapter.
            hint: Condition images (B, C, H, W) in [0, 1].
            mask: (M, H, W) in [0, 1], or None.
            node: The node's id.
        """
        found = (other_version(model, adapter), image_mistake(adapter.info, hint), mask_mistake(mask))
        return cls(node, tuple(text for text in found if text))

    def tell(self) -> None:
        """Show the texts on the node."""
        if self.texts:
            host.warn("\n".join(self.texts), self.node)

    def tell_size(self, use: AppliedAdapter, size: tuple[int, int]) -> None:
        """Show them again when a run starts, with what the picture's size adds.

        Args:
            use: The applied adapter.
            size: Height and width of the picture in pixels.
        """
        height, width = use.hint.shape[-2:]
        cut = crop_mistake((height, width), size) if use.fit == "crop" else None
        if cut is not None:
            host.tell(cut, None, logging.WARNING)
        # Without any text too: the last run may have been of another size.
        host.show("\n".join(filter(None, (*self.texts, cut))), self.node)


def tell_sizes(uses: Sequence[AppliedAdapter], size: tuple[int, int]) -> None:
    """Tell each Apply T2I-Adapter the size of the picture when a run starts.

    Args:
        uses: The adapters of a MODEL.
        size: Height and width of the picture in pixels.
    """
    for use in uses:
        if isinstance(use.origin, ApplyNotice):
            use.origin.tell_size(use, size)
