"""The one entry of the pack in ComfyUI's ``transformer_options``, which every call of a run passes along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

from ...adapter_models.calls import Residuals
from ...adapter_models.stack import ResidualComputer
from .state import SamplingState, Step

# The pack's only key in transformer_options.
_KEY = "t2i_adapter"


@dataclass(frozen=True, eq=False)
class AdapterOptions:
    """What the pack's wrappers, controls and patches tell each other during a run.

    Attributes:
        prepared: The features computed before the run, until the run takes them.
        run: The run of a MODEL with adapters.
        observed: The run around a CONTROL_NET.
        step: What the UNet's calls of this step can't see for themselves.
        residuals: What the patches add in this call; None outside the UNet.
        offered: ``control`` carries the residuals of this call.
    """

    prepared: ResidualComputer | None = None
    run: SamplingState | None = None
    observed: SamplingState | None = None
    step: Step | None = None
    residuals: Residuals | None = None
    offered: bool = False


_NOTHING = AdapterOptions()


def adapter_options(transformer_options: Mapping[str, Any]) -> AdapterOptions:
    """Return the pack's entry of ``transformer_options``; an empty one outside of a run."""
    # Compilers trace this inside the UNet, and would watch a default that is passed to get().
    found: AdapterOptions | None = transformer_options.get(_KEY)
    return _NOTHING if found is None else found


def with_adapter_options(transformer_options: Mapping[str, Any], entry: AdapterOptions) -> dict[str, Any]:
    """Return a copy of ``transformer_options`` with this entry."""
    return {**transformer_options, _KEY: entry}


def changed_options(transformer_options: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a copy of ``transformer_options`` with changed attributes of the pack's entry."""
    return with_adapter_options(transformer_options, replace(adapter_options(transformer_options), **changes))


def set_prepared(model_options: MutableMapping[str, Any], prepared: ResidualComputer) -> None:
    """Leave the features for the run that starts next with these model options."""
    options = model_options.setdefault("transformer_options", {})
    options[_KEY] = replace(adapter_options(options), prepared=prepared)


def take_prepared(model_options: Mapping[str, Any]) -> ResidualComputer | None:
    """Return the features left by :func:`set_prepared`, if any, and remove them."""
    options = model_options.get("transformer_options", {})
    found = adapter_options(options)
    if found.prepared is not None:
        _put(options, replace(found, prepared=None))
    return found.prepared


def _put(options: MutableMapping[str, Any], entry: AdapterOptions) -> None:
    """Set the pack's entry, or remove it if it says nothing: the options belong to others."""
    if all(getattr(entry, field.name) is field.default for field in fields(entry)):
        options.pop(_KEY, None)
    else:
        options[_KEY] = entry


@contextmanager
def during_run(model_options: MutableMapping[str, Any], **run: SamplingState) -> Iterator[None]:
    """Let the calls of a run find it until it ends in whatever way; then restore the run around it, if any.

    Args:
        model_options: The run's own; changed while the run lasts.
        run: The attribute of :class:`AdapterOptions` to set.
    """
    options = model_options.setdefault("transformer_options", {})
    around = options.get(_KEY)
    options[_KEY] = replace(around or _NOTHING, **run)
    try:
        yield
    finally:
        _put(options, around or _NOTHING)
