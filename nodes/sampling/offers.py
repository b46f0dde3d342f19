"""Residuals for nodes that call the UNet themselves: offered in ``control``, and taken back if not needed.

A block cache (DeepCache) sets a ``model_function_wrapper`` that walks the UNet's blocks. It bypasses ComfyUI's
apply_model, and with it the pack's wrapper and some of the patches; but it adds ``control``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .control_lists import Control, merge
from .options import changed_options

# Marks a control that holds our residuals.
_OFFERED = "t2i_adapter_offered"
# Keys in model_options of packs whose wrapper expects a ControlBase as `control`, and calls apply_model.
TAKES_CONTROL_OBJECTS = ("tiled_diffusion",)

# The input, the noise levels and transformer_options of a call -> its residuals as a control.
Offer = Callable[[Tensor, Tensor, Mapping[str, Any]], Control]


class OfferedControl(dict[str, list[Tensor | None]]):
    """A control with our residuals in it.

    Attributes:
        previous: The control without them.
    """

    def __init__(self, own: Control, previous: Control | None) -> None:
        super().__init__({**merge(own, previous), _OFFERED: []})
        self.previous = previous


@dataclass(frozen=True, eq=False)
class OfferingWrapper:
    """A ``model_function_wrapper`` around another pack's.

    Attributes:
        wrapped: The other pack's wrapper.
        offer: Computes the residuals of a call.
    """

    wrapped: Callable[[Any, dict[str, Any]], Any]
    offer: Offer

    def __call__(self, apply_model: Any, args: dict[str, Any]) -> Any:
        """Put the residuals into the control of the call."""
        c = args["c"]
        previous, options = c.get("control"), c["transformer_options"]
        if previous is None or isinstance(previous, Mapping):
            own = self.offer(args["input"], args["timestep"], options)
            # The patches add nothing unless apply_model takes the residuals back.
            options = changed_options(options, offered=True, residuals={})
            c = {**c, "control": OfferedControl(own, previous), "transformer_options": options}
        return self.wrapped(apply_model, {**args, "c": c})


def offering(model_options: dict[str, Any], offer: Offer) -> dict[str, Any]:
    """Return model_options whose ``model_function_wrapper`` of another pack, if any, is offered residuals."""
    wrapped = model_options.get("model_function_wrapper")
    if wrapped is None or any(model_options.get(key) for key in TAKES_CONTROL_OBJECTS):
        return model_options
    return {**model_options, "model_function_wrapper": OfferingWrapper(wrapped, offer)}


def taken_back(control: Any, *, offered: bool) -> tuple[Any, bool]:
    """Take the residuals back out of ``control`` when the other pack calls apply_model.

    Args:
        control: As apply_model gets it.
        offered: Whether the call's control was offered residuals.

    Returns:
        The control without our residuals, if it came untouched; and whether the residuals are still to be added: not
        if the caller has cut the control to its needs, and not if it has taken the control away.
    """
    if isinstance(control, OfferedControl):
        return control.previous, True
    if isinstance(control, Mapping) and _OFFERED in control:
        return control, False
    return control, not (offered and control is None)
