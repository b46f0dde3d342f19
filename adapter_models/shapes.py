"""Read the shape of an adapter network from the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..common.impostors import FETCH_AGAIN
from .config import AdapterConfig
from .errors import AdapterError, CorruptFileError, NotAnAdapterError
from .families import takes_tokens
from .formats import Format, Shapes, indices_in

INCOMPLETE = "Parts of this adapter are missing."
CONTRADICTION = "config.json belongs to another adapter than the weights beside it."
SAME_PLACE = "Get config.json and the weights from the same place."


@dataclass(frozen=True)
class InputLayout:
    """Facts about the condition image, derived from the width of the first layer.

    Attributes:
        in_channels: Channels after the pixel unshuffle.
        image_channels: Channels of the condition image.
        unshuffle: Pixels per cell and side.
        xl: The SDXL arrangement: only the third level halves the size.
    """

    in_channels: int
    image_channels: int
    unshuffle: int
    xl: bool


# Every published file is one of the first four. Cells of 32 pixels are tokens of transformers.
INPUT_LAYOUTS = (
    InputLayout(64, image_channels=1, unshuffle=8, xl=False),
    InputLayout(192, image_channels=3, unshuffle=8, xl=False),
    InputLayout(256, image_channels=1, unshuffle=16, xl=True),
    InputLayout(768, image_channels=3, unshuffle=16, xl=True),
    InputLayout(1024, image_channels=1, unshuffle=32, xl=False),
    InputLayout(3072, image_channels=3, unshuffle=32, xl=False),
)


def input_layout(where: str, in_channels: int, config: Mapping[str, object]) -> InputLayout:
    """Return the layout of the condition image.

    Args:
        where: The file, for messages.
        in_channels: Second dimension of the first layer.
        config: diffusers ``config.json``, or empty. Only this tells cells of other sizes than 8 or 16 pixels.

    Returns:
        The layout, checked against the weights.

    Raises:
        CorruptFileError: The config contradicts the weights.
        NotAnAdapterError: The first layer fits no image.
    """
    known = next((row for row in INPUT_LAYOUTS if row.in_channels == in_channels), None)
    image_channels, unshuffle = config.get("in_channels"), config.get("downscale_factor")
    if isinstance(image_channels, int) and isinstance(unshuffle, int):
        if image_channels < 1 or unshuffle < 1 or image_channels * unshuffle**2 != in_channels:
            raise CorruptFileError(
                where,
                f"a first layer of {in_channels} channels",
                f"{image_channels}·{unshuffle}² = {image_channels * unshuffle**2} as config.json says",
                SAME_PLACE,
                says=CONTRADICTION,
            )
        if known is None or known.unshuffle != unshuffle:
            known = InputLayout(in_channels, image_channels, unshuffle, config.get("adapter_type") == "full_adapter_xl")
    if known is None:
        raise NotAnAdapterError(
            where,
            f"a first layer of {in_channels} channels",
            "64, 192 (SD1.x, SD2.x), 256, 768 (SDXL), 1024 or 3072",
            "For an adapter with other cells keep its diffusers folder with config.json.",
            says="This adapter takes no image of any known kind.",
        )
    return known


def read_config(where: str, row: Format, shapes: Shapes, config: Mapping[str, object]) -> AdapterConfig:
    """Read the shape of the network from the shapes of its tensors; file names play no part.

    Args:
        where: The file, for messages.
        row: The layout, from :func:`.formats.detect`.
        shapes: Shape of each tensor, by its normalised name.
        config: diffusers ``config.json``, or empty.

    Returns:
        The config of the network with exactly these parameters.

    Raises:
        CorruptFileError: Shapes that contradict each other or the config.
        NotAnAdapterError: A first layer that fits no image.
    """
    try:
        blocks = row.blocks_per_level(shapes)
        names: Shapes = {row.rename(name, blocks): shape for name, shape in shapes.items()}
        if len(names) != len(shapes):
            raise CorruptFileError(
                where, "levels of different lengths", "every level of the adapter", FETCH_AGAIN, says=INCOMPLETE
            )
        layout = input_layout(where, shapes[row.first_layer][1], config)
        _check_type(where, row, layout, config)
        base = AdapterConfig(row.kind, layout.image_channels, layout.unshuffle, (), (), blocks)
        described = _describe_full(base, names) if row.kind == "full" else _describe_light(base, names)
    except (LookupError, ValueError) as error:
        if isinstance(error, AdapterError):
            raise
        raise CorruptFileError(
            where, f"no weights where {error} should be", "every level of the adapter", FETCH_AGAIN, says=INCOMPLETE
        ) from error
    # No UNet has levels of one width, and the levels of an adapter for a transformer have no other.
    if row.kind == "light" and takes_tokens(described):
        return described
    levels = len(described.channels)
    return replace(described, down_levels=(2,) if layout.xl else tuple(range(1, levels)))


def _check_type(where: str, row: Format, layout: InputLayout, config: Mapping[str, object]) -> None:
    stated = config.get("adapter_type", None if layout in INPUT_LAYOUTS else "nothing")
    actual = "light_adapter" if row.kind == "light" else f"full_adapter{'_xl' if layout.xl else ''}"
    if {str(stated), actual} == {"full_adapter", "full_adapter_xl"}:
        # The same weights fit both types, but the level sizes of each suit only one family of models.
        raise CorruptFileError(
            where,
            f"a config.json that fits no diffusion model: {stated} with downscale_factor {layout.unshuffle}",
            "full_adapter with 8 (SD1.x, SD2.x), or full_adapter_xl with 16 (SDXL)",
            "Correct adapter_type or downscale_factor in config.json, as the adapter was trained.",
            says="config.json describes an adapter that fits no diffusion model.",
        )
    if stated not in (None, actual):
        raise CorruptFileError(
            where, f"weights of a {actual}", f"{stated} as config.json says", SAME_PLACE, says=CONTRADICTION
        )


def _describe_full(base: AdapterConfig, shapes: Shapes) -> AdapterConfig:
    count = len(indices_in(shapes, r"body\.(\d+)\.block1\.weight$"))
    starts = range(0, count, base.num_res_blocks)
    return replace(
        base,
        channels=tuple(shapes[f"body.{i}.block1.weight"][0] for i in starts),
        kernel_size=shapes["body.0.block2.weight"][2],
        identity_skip="body.0.skep.weight" not in shapes,
        conv_down=any(name.endswith("down_opt.op.weight") for name in shapes),
    )


def _describe_light(base: AdapterConfig, shapes: Shapes) -> AdapterConfig:
    levels = indices_in(shapes, r"body\.(\d+)\.in_conv\.weight$")
    return replace(
        base,
        channels=tuple(shapes[f"body.{i}.out_conv.weight"][0] for i in levels),
        inner_channels=tuple(shapes[f"body.{i}.in_conv.weight"][0] for i in levels),
    )
