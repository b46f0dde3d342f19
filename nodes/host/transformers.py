"""The transformers on image tokens (DiT) that adapters know: one row per family, recognised by class and structure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from comfy.ldm.chroma.model import Chroma
from comfy.ldm.flux.model import Flux
from comfy.ldm.lumina.model import NextDiT
from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel
from torch import nn

from ...adapter_models.families import BlockPart, TokenOutline


@dataclass(frozen=True)
class TokenModel:
    """A family of transformers in ComfyUI.

    Attributes:
        family: Its name.
        module: ComfyUI's class, exactly: a subclass may order its tokens in another way.
        blocks: Attribute with the blocks that are counted for sites.
        width: Attribute with the width of a token.
        more: Attributes with the other blocks that make up most of the network.
        part: How the blocks take residuals: ``tokens`` from ``control["input"]``, after each block, from the first
            image token on; ``block`` from the patch ``double_block``.
        marks: Tells the family among those of one class.
    """

    family: str
    module: type
    blocks: str
    width: str
    part: BlockPart
    marks: Callable[[Any], bool] = lambda unet: True
    more: tuple[str, ...] = ()


_FLUX_BLOCKS = ("double_blocks", "hidden_size", "tokens")
TOKEN_MODELS = (
    TokenModel("Flux.2", Flux, *_FLUX_BLOCKS, lambda unet: unet.params.global_modulation, more=("single_blocks",)),
    TokenModel("Flux", Flux, *_FLUX_BLOCKS, more=("single_blocks",)),
    TokenModel("Chroma", Chroma, *_FLUX_BLOCKS, more=("single_blocks",)),
    TokenModel("Qwen-Image", QwenImageTransformer2DModel, "transformer_blocks", "inner_dim", "tokens"),
    TokenModel("Z-Image", NextDiT, "layers", "dim", "block", lambda unet: unet.pad_tokens_multiple is not None),
    TokenModel("Lumina 2", NextDiT, "layers", "dim", "block"),
)


def _row_of(unet: Any) -> TokenModel | None:
    return next((row for row in TOKEN_MODELS if type(unet) is row.module and row.marks(unet)), None)


def transformer_blocks(unet: Any) -> tuple[nn.Module, ...]:
    """Return the blocks of a known transformer."""
    row = _row_of(unet)
    return () if row is None else tuple(block for name in (row.blocks, *row.more) for block in getattr(unet, name))


def token_outline(name: str, base: Any, unet: Any) -> TokenOutline | None:
    """Return the facts about a transformer, or None for any other model.

    Args:
        name: What ComfyUI calls the model.
        base: ComfyUI's BaseModel.
        unet: Its diffusion model, not compiled.
    """
    row = _row_of(unet)
    if row is None:
        return None
    stride = int(base.latent_format.spacial_downscale_ratio) * int(unet.patch_size)
    return TokenOutline(
        name, row.family, len(getattr(unet, row.blocks)), int(getattr(unet, row.width)), stride, row.part
    )
