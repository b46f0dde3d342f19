"""Which adapter a file holds: the table of published layouts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .config import Kind
from .errors import NotAnAdapterError
from .identify import identify

Shapes = Mapping[str, tuple[int, ...]]
ANOTHER = "Choose another file."


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


def indices_in(shapes: Shapes, pattern: str) -> list[int]:
    """Return the numbers that a pattern finds in the names, in order."""
    found = (re.match(pattern, name) for name in shapes)
    return sorted({int(match.group(1)) for match in found if match})


def _run_length(shapes: Shapes) -> int:
    # Blocks are numbered across levels; the first level ends where the width changes.
    widths = [shapes[f"body.{i}.block1.weight"][0] for i in indices_in(shapes, r"body\.(\d+)\.block1\.weight$")]
    return next((i for i, width in enumerate(widths) if width != widths[0]), len(widths))


def _resnets(shapes: Shapes) -> int:
    return len(indices_in(shapes, r"body\.0\.resnets\.(\d+)\.block1\.weight$"))


def _nested_bodies(shapes: Shapes) -> int:
    return len(indices_in(shapes, r"body\.0\.body\.(\d+)\.block1\.weight$"))


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
