"""The facts about a loaded adapter as text."""

from __future__ import annotations

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.conditions import NAME


def describe(adapter: T2IAdapter) -> str:
    """Return the facts about an adapter, one a line."""
    info, config = adapter.info, adapter.network.config
    levels = ", ".join(f"{width} (1/{cell})" for width, cell in zip(config.channels, config.strides, strict=True))
    condition = info.condition
    rows = (
        ("file", info.name),
        ("family", info.family or info.fits),
        ("kind", f"{config.kind}, {config.num_res_blocks} residual blocks per level"),
        ("levels", levels),
        ("condition", f"{condition.name}: {condition.expects}" if condition else "not named in the file or its name"),
        ("image channels", f"{info.image_channels} ({_color_order(adapter)})" if info.takes_colors
         else "1 (gray)"),
        ("parameters", f"{info.parameters / 1e6:.1f} M"),
        ("precision", f"{info.dtype}; computes in {adapter.dtype or 'the precision of the model'}"),
        ("file format", f"{info.layout}, {info.container}"),
        *((f"taken from {NAME}", named) for named in (_from_name(adapter),) if named),
    )  # fmt: skip
    return "\n".join(f"{name}: {value}" for name, value in rows)


def summary(adapter: T2IAdapter) -> str:
    """Return family and condition of an adapter, in one line."""
    info = adapter.info
    known = f"{info.condition.name}. Expects {info.condition.expects}" if info.condition else "condition not named"
    return f"{info.family or info.fits}, {known}."


def _from_name(adapter: T2IAdapter) -> str:
    """Return the facts that were read from the file's name alone."""
    info = adapter.info
    sources = (
        ("family", info.family_from),
        ("condition", info.condition_from),
        ("order of colours", info.color_order.told_by if info.takes_colors and adapter.bgr == info.bgr else ""),
    )
    return ", ".join(fact for fact, source in sources if source == NAME)


def _color_order(adapter: T2IAdapter) -> str:
    order, name = adapter.info.color_order, "BGR" if adapter.bgr else "RGB"
    if order.told_by or adapter.bgr != order.bgr:
        return name
    return f"{name}, assumed: neither the file nor its name tells"
