"""What Apply T2I-Adapter says on its node about inputs that are legal but seldom meant."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.applied import AppliedAdapter
from ...adapter_models.hint import fit_to, prepare_hint
from .. import host
from .base_model import other_version
from .hint_mistakes import crop_mistake, image_mistake, mask_mistake

# The colour over what a mask leaves out.
OUTSIDE = (0.8, 0.0, 0.0)


@dataclass(frozen=True)
class ApplyNotice:
    """The texts of one Apply T2I-Adapter.

    Attributes:
        node: The node's id, or None outside of a graph.
        texts: What its inputs alone tell.
        shows_image: Whether it shows the condition image as it is used.
    """

    node: str | None
    texts: tuple[str, ...] = ()
    shows_image: bool = False

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
        if self.shows_image:
            host.show_pictures(image_as_used(use, size), self.node)


def image_as_used(use: AppliedAdapter, size: tuple[int, int]) -> Tensor:
    """Return the condition images as an adapter gets them, red where its mask keeps it out.

    Args:
        use: The applied adapter.
        size: Height and width of the picture in pixels.

    Returns:
        (B, *size, 3) in [0, 1].
    """
    images = prepare_hint(use.hint, size, use.fit, use.adapter.info.image_channels).float().expand(-1, 3, -1, -1)
    if use.mask is not None:
        acts = fit_to(use.mask.unsqueeze(1).to(images), size, use.fit).clamp(0, 1)
        count = max(len(images), len(acts))
        images, acts = (each[torch.arange(count) % len(each)] for each in (images, acts))
        red = torch.tensor(OUTSIDE).to(images).view(1, 3, 1, 1)
        images = images * acts + (images + red) / 2 * (1 - acts)
    return images.movedim(1, -1)


def tell_sizes(uses: Sequence[AppliedAdapter], size: tuple[int, int]) -> None:
    """Tell each Apply T2I-Adapter the size of the picture when a run starts.

    Args:
        uses: The adapters of a MODEL.
        size: Height and width of the picture in pixels.
    """
    for use in uses:
        if isinstance(use.origin, ApplyNotice):
            use.origin.tell_size(use, size)
