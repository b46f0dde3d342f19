"""SD1.x or SD2.x: which of the two a MODEL is. Their shapes are equal, so nothing else tells."""

from __future__ import annotations

from typing import Any

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.conditions import NAME
from .. import host


def version_of(model: Any) -> str | None:
    """Say whether a MODEL with SD's four resolutions is SD1.x or SD2.x, by the width of its prompts; else None."""
    context = getattr(model.model.model_config, "unet_config", {}).get("context_dim", 0)
    return {768: "SD1.x", 1024: "SD2.x"}.get(context)


def other_version(model: Any, adapter: T2IAdapter) -> str | None:
    """Say so where an adapter is made for SD1.x and the MODEL is SD2.x, or the other way round; else None.

    The two have equal shapes, so nothing else tells them apart; the picture only comes out worse.
    """
    version = version_of(model)
    made_for = adapter.info.family
    if version is None or made_for not in ("SD1.x", "SD2.x") or made_for == version:
        return None
    told = f" (taken from {NAME})" if adapter.info.family_from == NAME else ""
    return f"{adapter.info.name} is made for {made_for}{told}, and this MODEL is {version}: it may follow badly."


def warn_of_version(model: Any, adapter: T2IAdapter, node_id: str | None) -> None:
    """Show on a node what :func:`other_version` says, if anything."""
    warning = other_version(model, adapter)
    if warning is not None:
        host.warn(warning, node_id)
