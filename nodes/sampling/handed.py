"""The residuals of one call of the UNet, handed to the patches inside it."""

from __future__ import annotations

from torch import Tensor

from ...adapter_models.calls import Residuals, Site
from ...adapter_models.errors import AdapterError
from ...adapter_models.families import BlockPart

APPLY_NODE = "Apply T2I-Adapter"


class Handed(dict[Site, Tensor]):
    """The residuals of one call of the UNet.

    Attributes:
        seen: The kinds of blocks whose patch was called.
    """

    def __init__(self, residuals: Residuals) -> None:
        super().__init__(residuals)
        self.seen: set[BlockPart] = set()

    def check(self) -> None:
        """Refuse a UNet that ran without the patches.

        Raises:
            AdapterError: No patch was called, or only the input patch although the middle block has a residual.
        """
        missing = {kind for kind, _ in self} - self.seen
        if not missing or self.seen == {"middle"}:  # the latter: another node has switched the input patch off
            return
        raise AdapterError(
            APPLY_NODE,
            f"a UNet that ran without calling the patches of its {' and '.join(sorted(missing))} blocks",
            "one that calls them",
            "ComfyUI or another node replays recorded blocks, or replaces the UNet's forward. Start ComfyUI with "
            "--disable-cuda-graphs and --disable-comfy-compiler if it knows them, else remove that node.",
            says="The UNet skipped the adapter: it ran without the patches that add it.",
        )
