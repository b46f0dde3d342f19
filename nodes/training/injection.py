"""Add an adapter's features to a frozen model during training. Nothing is added in place: autograd forbids it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from ...adapter_models.calls import Site
from ...adapter_models.families import UNetBlock
from ..sampling.control_lists import as_tokens


@dataclass(frozen=True, eq=False)
class AddFeatures:
    """Patches that add features at the sites in one forward pass.

    Attributes:
        features: Feature map (B, C, h, w) by the block's (part, index).
    """

    features: Mapping[Site, Tensor]

    def after_input(self, h: Tensor, transformer_options: Mapping[str, Any]) -> Tensor:
        """Add to the output of an input block, if it is a site."""
        feature = self.features.get(transformer_options["block"])
        return h if feature is None else h + feature.to(h.dtype)

    def after_middle(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Add to the output of the middle block, if it is a site."""
        feature = self.features.get(("middle", 0))
        h = args["h"]
        return {**args, "h": h if feature is None else h + feature.to(h.dtype)}

    def after_block(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Add to the image tokens (B, at least h · w, C) after a transformer's block, if it is a site."""
        feature = self.features.get(("block", args["block_index"]))
        if feature is None:
            return dict(args)
        return {"img": _added(args["img"], feature)}

    def replacing(self) -> dict[tuple[str, int], Any]:
        """Return what ComfyUI calls in place of each block of a transformer that reads ``control``.

        ``control`` itself would be added in place to a view, which autograd refuses.
        """
        return {("double_block", index): self._around(feature) for (_, index), feature in self.features.items()}

    def _around(self, feature: Tensor) -> Any:
        def block(args: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
            out = extra["original_block"](args)
            return {**out, "img": _added(out["img"], feature)}

        return block


def _added(img: Tensor, feature: Tensor) -> Tensor:
    """Add to the first image tokens (B, at least h · w, C)."""
    tokens = as_tokens(feature).to(img.dtype)
    return img + functional.pad(tokens, (0, 0, 0, img.shape[1] - tokens.shape[1]))


def injection_of(sites: Sequence[UNetBlock], features: Sequence[Tensor]) -> dict[str, Any]:
    """Return the ``transformer_options`` that add one level of features after each site.

    Args:
        sites: The block of each level; features at the same block add up.
        features: (B, C, h, w) for each level.
    """
    by_site: dict[Site, Tensor] = {}
    for site, feature in zip(sites, features, strict=True):
        key = (site.part, site.index)
        by_site[key] = by_site[key] + feature if key in by_site else feature
    add, parts = AddFeatures(by_site), {site.part for site in sites}
    if "tokens" in parts:
        return {"patches_replace": {"dit": add.replacing()}}
    if "block" in parts:
        return {"patches": {"double_block": [add.after_block]}}
    return {"patches": {"input_block_patch": [add.after_input], "middle_block_after_patch": [add.after_middle]}}
