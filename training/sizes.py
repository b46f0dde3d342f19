"""Sizes of new adapters, and the config of each size for a UNet, which provides the channels and sites."""

from __future__ import annotations

from dataclasses import dataclass

from ..adapter_models.config import AdapterConfig, Kind
from ..adapter_models.errors import FamilyMismatchError
from ..adapter_models.families import FAMILIES, TOKEN_LEVELS, Family, Outline, TokenOutline, UNetOutline
from .errors import TrainingError

_LEVELS = 4


@dataclass(frozen=True)
class AdapterSize:
    """A size of adapter.

    Attributes:
        name: Name that the user chooses.
        kind: Type of the network.
        num_res_blocks: Residual blocks per level.
        divisor: Output width of a level divided by its inner width; 1 for full adapters.
        token_width: Inner width of the levels of an adapter for a transformer, whatever the transformer's own.
    """

    name: str
    kind: Kind
    num_res_blocks: int
    divisor: int
    token_width: int


# 77M, 18M and 5M parameters at the widths of SD1.x. Source: arXiv 2302.08453, section 4.4 (complexity). For
# transformers with tokens of 3072 numbers 39M, 12M and 4M.
SIZES = (
    AdapterSize("base", "full", num_res_blocks=2, divisor=1, token_width=448),
    AdapterSize("small", "light", num_res_blocks=4, divisor=4, token_width=224),
    AdapterSize("tiny", "light", num_res_blocks=4, divisor=8, token_width=112),
)
_TOKEN_BLOCKS = 2
IMAGE_CHANNELS = (3, 1)


def config_for(outline: Outline, size: str, image_channels: int) -> AdapterConfig:
    """Return the config of a new adapter for a model.

    Args:
        outline: The model.
        size: A name of :data:`SIZES`.
        image_channels: 3 for colours, 1 for gray.

    Returns:
        A config whose levels have the model's channels and strides at its family's sites.

    Raises:
        FamilyMismatchError: The UNet does not belong to a known family.
        TrainingError: The size or the number of channels is unknown.
    """
    row = next((row for row in SIZES if row.name == size), None)
    if row is None or image_channels not in IMAGE_CHANNELS:
        names = ", ".join(row.name for row in SIZES)
        raise TrainingError(
            "size, image_channels",
            f"size '{size}' and {image_channels} image channels",
            f"one of {names} and 3 or 1 channels",
            "Choose from these.",
            says="A new adapter can't have this size or number of image channels.",
        )
    if isinstance(outline, TokenOutline):
        inner = (row.token_width,) * TOKEN_LEVELS
        channels = (outline.channels,) * TOKEN_LEVELS
        return AdapterConfig("light", image_channels, outline.stride, channels, (), _TOKEN_BLOCKS, inner)
    family = _family_of(outline)
    sites = [rule.find(outline) for rule in family.sites]
    channels = tuple(site.channels for site in sites)
    return AdapterConfig(
        kind=row.kind,
        image_channels=image_channels,
        unshuffle=sites[0].stride,
        channels=channels,
        down_levels=tuple(i for i in range(1, _LEVELS) if sites[i].stride > sites[i - 1].stride),
        num_res_blocks=row.num_res_blocks,
        inner_channels=tuple(width // row.divisor for width in channels) if row.kind == "light" else (),
    )


def _family_of(outline: UNetOutline) -> Family:
    resolutions = len(outline.levels)
    family = next((f for f in FAMILIES if f.unet_levels == resolutions and len(f.sites) == _LEVELS), None)
    if family is None:
        raise FamilyMismatchError(
            "model",
            f"the model {outline.name} of {resolutions} resolutions",
            "a UNet of three (SDXL) or four (SD1.x, SD2.x)",
            "Load a checkpoint of SD1.x, SD2.x or SDXL.",
            says="Adapters can't be trained for this model.",
        )
    return family
