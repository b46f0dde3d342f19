"""Which adapter a file holds: the table of published layouts, and the network's shape read from the tensors' shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from ..common.impostors import FETCH_AGAIN
from .errors import AdapterError, CorruptFileError, NotAnAdapterError
from .identify import identify
from .networks import AdapterConfig, Kind

Shapes = Mapping[str, tuple[int, ...]]
INCOMPLETE = "Parts of this adapter are missing."
ANOTHER = "Choose another file."
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


# Every published file is one of these four; no other width of the first layer exists.
INPUT_LAYOUTS = (
    InputLayout(64, image_channels=1, unshuffle=8, xl=False),
    InputLayout(192, image_channels=3, unshuffle=8, xl=False),
    InputLayout(256, image_channels=1, unshuffle=16, xl=True),
    InputLayout(768, image_channels=3, unshuffle=16, xl=True),
)


@dataclass(frozen=True)
class Format:
    """One layout of names in a state dict (after prefixes are stripped).

    Attributes:
        name: Its name in messages.
        kind: The network it holds.
        required: Names that must be present.
        banned: Names that must be absent. With ``required``, they make the rows mutually exclusive.
        first_layer: The name whose second dimension is the width of the input.
        rename: (name, residual blocks per level) -> the network's own name.
        name_in_file: (the network's own name, residual blocks per level) -> name; undoes ``rename``.
        blocks_per_level: Shapes, by the names in the file -> residual blocks per level.
    """

    name: str
    kind: Kind
    required: tuple[str, ...]
    banned: tuple[str, ...]
    first_layer: str
    rename: Callable[[str, int], str]
    name_in_file: Callable[[str, int], str]
    blocks_per_level: Callable[[Shapes], int]


def _same_name(name: str, blocks: int) -> str:
    return name


def _flatten_levels(name: str, blocks: int) -> str:
    match = re.match(r"body\.(\d+)\.(?:resnets\.(\d+)\.)?(.*)", name)
    if match is None:
        return name
    level, block, rest = match.groups()
    return f"body.{int(level) * blocks + int(block or 0)}.{rest}"


def _group_levels(name: str, blocks: int) -> str:
    match = re.match(r"body\.(\d+)\.(.*)", name)
    if match is None:
        return name
    index, rest = int(match[1]), match[2]
    # The first layers of a level are its direct children; its residual blocks are in a list.
    begins = rest.startswith(("in_conv.", "down_opt."))
    return f"body.{index // blocks}.{rest}" if begins else f"body.{index // blocks}.resnets.{index % blocks}.{rest}"


def _nest_resnets(name: str, blocks: int) -> str:
    return re.sub(r"^(body\.\d+)\.resnets\.", r"\1.body.", name)


def _unnest_resnets(name: str, blocks: int) -> str:
    return re.sub(r"^(body\.\d+)\.body\.", r"\1.resnets.", name)


def _indices(shapes: Shapes, pattern: str) -> list[int]:
    found = (re.match(pattern, name) for name in shapes)
    return sorted({int(match.group(1)) for match in found if match})


def _run_length(shapes: Shapes) -> int:
    # Blocks are numbered across levels; the first level ends where the width changes.
    widths = [shapes[f"body.{i}.block1.weight"][0] for i in _indices(shapes, r"body\.(\d+)\.block1\.weight$")]
    return next((i for i, width in enumerate(widths) if width != widths[0]), len(widths))


def _resnets(shapes: Shapes) -> int:
    return len(_indices(shapes, r"body\.0\.resnets\.(\d+)\.block1\.weight$"))


def _nested_bodies(shapes: Shapes) -> int:
    return len(_indices(shapes, r"body\.0\.body\.(\d+)\.block1\.weight$"))


FORMATS = (
    Format(
        "original (TencentARC)",
        "full",
        required=("conv_in.weight", "body.0.block1.weight"),
        banned=("body.0.resnets.0.block1.weight",),
        first_layer="conv_in.weight",
        rename=_same_name,
        name_in_file=_same_name,
        blocks_per_level=_run_length,
    ),
    Format(
        "diffusers",
        "full",
        required=("conv_in.weight", "body.0.resnets.0.block1.weight"),
        banned=("body.0.block1.weight",),
        first_layer="conv_in.weight",
        rename=_flatten_levels,
        name_in_file=_group_levels,
        blocks_per_level=_resnets,
    ),
    Format(
        "original (TencentARC)",
        "light",
        required=("body.0.in_conv.weight", "body.0.body.0.block1.weight", "body.0.out_conv.weight"),
        banned=("conv_in.weight", "body.0.resnets.0.block1.weight"),
        first_layer="body.0.in_conv.weight",
        rename=_same_name,
        name_in_file=_same_name,
        blocks_per_level=_nested_bodies,
    ),
    Format(
        "diffusers",
        "light",
        required=("body.0.in_conv.weight", "body.0.resnets.0.block1.weight", "body.0.out_conv.weight"),
        banned=("conv_in.weight", "body.0.body.0.block1.weight"),
        first_layer="body.0.in_conv.weight",
        rename=_nest_resnets,
        name_in_file=_unnest_resnets,
        blocks_per_level=_resnets,
    ),
)


MEMBER = re.compile(r"^(?:module\.)?(?:\w+\.)*?adapters\.(?P<member>[^.]+)\.(?P<name>.+)$")


def members(names: Iterable[str]) -> tuple[str, ...]:
    """Return the conditions in a CoAdapter bundle (names like ``adapters.sketch.body.0…``), or nothing."""
    return tuple(sorted({match["member"] for match in map(MEMBER.match, names) if match}))


def strip_prefixes(where: str, tensors: Mapping[str, Tensor], member: str | None = None) -> dict[str, Tensor]:
    """Strip the prefixes that trainers put before an adapter's names.

    Args:
        where: The file, for messages.
        tensors: Names as they are in the file: bare, or behind ``module.``, ``adapter.`` or ``adapters.<condition>.``.
        member: Which condition of a CoAdapter bundle; None if there is only one.

    Returns:
        The tensors of one adapter, by the names of the published layouts.

    Raises:
        NotAnAdapterError: The file is a bundle and no adapter was chosen, or the bundle lacks the chosen one.
    """
    bundled = members(tensors)
    if bundled:
        chosen = member or (bundled[0] if len(bundled) == 1 else None)
        if chosen not in bundled:
            raise NotAnAdapterError(
                where,
                f"a CoAdapter bundle of {', '.join(bundled)}",
                "one adapter",
                f"Choose one of its entries, such as '{where}#{bundled[0]}'; refresh the list if it has none.",
                says="This file holds several adapters: choose one.",
            )
        matches = ((MEMBER.match(name), tensor) for name, tensor in tensors.items())
        tensors = {match["name"]: tensor for match, tensor in matches if match and match["member"] == chosen}
    elif member is not None:
        found, says = f"a file without an entry '{member}'", "This file is not a CoAdapter bundle and has no entries."
        raise NotAnAdapterError(where, found, "a CoAdapter bundle", "Drop the '#…'.", says=says)
    for prefix in ("module.", "adapter.", "module."):
        inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        tensors = inside or tensors
    return dict(tensors)


def find_format(names: Iterable[str]) -> Format | None:
    """Return the one layout of adapters that has these names, or None."""
    names = set(names)
    rows = [row for row in FORMATS if names.issuperset(row.required) and names.isdisjoint(row.banned)]
    return rows[0] if len(rows) == 1 else None


def detect(where: str, shapes: Shapes) -> Format:
    """Find the one layout that a state dict has.

    Args:
        where: The file, for messages.
        shapes: Shape of each tensor, by its normalised name.

    Returns:
        The row of :data:`FORMATS`.

    Raises:
        NotAnAdapterError: The file is something else; the message says what.
    """
    row = find_format(shapes)
    if row is not None:
        return row
    raise not_expected(where, shapes, "a T2I-Adapter")


def not_expected(where: str, names: Iterable[str], expected: str) -> NotAnAdapterError:
    """Return the error for a file that holds something else: what it is."""
    names = list(names)
    found = identify(names)
    if found is not None:
        says = f"This file is {found.name}, not {expected}."
        return NotAnAdapterError(where, found.name, expected, ANOTHER, says=says, topic=found.topic)
    sample = ", ".join(names[:3]) or "no tensors at all"
    says = f"This file is not {expected}."
    return NotAnAdapterError(
        where, f"an unknown file ({sample}…)", expected, "Choose a file made for T2I-Adapter.", says=says
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
            "64, 192 (SD1.x, SD2.x), 256 or 768 (SDXL)",
            "For an adapter with other cells keep its diffusers folder with config.json.",
            says="This adapter takes no image of any known kind.",
        )
    return known


def read_config(where: str, row: Format, shapes: Shapes, config: Mapping[str, object]) -> AdapterConfig:
    """Read the shape of the network from the shapes of its tensors; file names play no part.

    Args:
        where: The file, for messages.
        row: The layout, from :func:`detect`.
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
    count = len(_indices(shapes, r"body\.(\d+)\.block1\.weight$"))
    starts = range(0, count, base.num_res_blocks)
    return replace(
        base,
        channels=tuple(shapes[f"body.{i}.block1.weight"][0] for i in starts),
        kernel_size=shapes["body.0.block2.weight"][2],
        identity_skip="body.0.skep.weight" not in shapes,
        conv_down=any(name.endswith("down_opt.op.weight") for name in shapes),
    )


def _describe_light(base: AdapterConfig, shapes: Shapes) -> AdapterConfig:
    levels = _indices(shapes, r"body\.(\d+)\.in_conv\.weight$")
    return replace(
        base,
        channels=tuple(shapes[f"body.{i}.out_conv.weight"][0] for i in levels),
        inner_channels=tuple(shapes[f"body.{i}.in_conv.weight"][0] for i in levels),
    )
