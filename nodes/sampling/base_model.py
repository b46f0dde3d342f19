"""Tell families of models whose shapes can be equal: SD1.x and SD2.x, and those of transformers."""

from __future__ import annotations

from typing import Any

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.conditions import NAME
from ...adapter_models.families import TokenOutline
from .. import host


def version_of(model: Any) -> str | None:
    """Return ``SD1.x`` or ``SD2.x`` from the width of a MODEL's prompts, or a transformer's family, else None."""
    outline = host.unet_outline(model)
    if isinstance(outline, TokenOutline):
        return outline.family
    context = getattr(model.model.model_config, "unet_config", {}).get("context_dim", 0)
    return {768: "SD1.x", 1024: "SD2.x"}.get(context)


def other_version(model: Any, adapter: T2IAdapter) -> str | None:
    """Return a warning if an adapter is made for SD1.x and the MODEL is SD2.x, or the reverse; else None.

    The adapter runs with both, since their shapes are equal, but the picture follows it badly.
    """
    version = version_of(model)
    made_for = adapter.info.family
    if version is None or made_for not in ("SD1.x", "SD2.x") or made_for == version:
        return None
    told = f" (taken from {NAME})" if adapter.info.family_from == NAME else ""
    return f"{adapter.info.name} is made for {made_for}{told}, and this MODEL is {version}: it may follow badly."


def warn_of_version(model: Any, adapter: T2IAdapter, node_id: str | None) -> None:
    """Show the warning of :func:`other_version`, if any, on a node."""
    warning = other_version(model, adapter)
    if warning is not None:
        host.warn(warning, node_id)
