"""What the Apply node of Advanced-ControlNet hands a CONTROL_NET: a mask, keyframes of time and of pictures, weights.

Its objects are read by their public attributes; nothing of that pack is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...adapter_models.errors import AdapterError

ADVANCED_APPLY = "Apply Advanced ControlNet with a T2I-Adapter"
# Types of weights that fit four levels; the others count a ControlNet's blocks.
_WEIGHT_TYPES = ("default", "universal", "t2iadapter")


@dataclass(frozen=True)
class Overrides:
    """What one Apply node handed over.

    Attributes:
        mask: (M, H, W) in [0, 1], where the control acts; the last serves the pictures that are left.
        keyframes: Its timestep keyframes in their order, each with the place where it begins, strength, weights…
        pictures: Its latent keyframes, each with the number of a picture and a strength; go before a keyframe's own.
        weights: Its weights; go before a keyframe's own.
    """

    mask: Tensor | None = None
    keyframes: tuple[Any, ...] = ()
    pictures: Any = None
    weights: Any = None

    def check(self) -> None:
        """Refuse weights that say nothing of an adapter's levels.

        Raises:
            AdapterError: They are for a ControlNet's blocks, or have a mask of their own.
        """
        own = [keyframe.control_weights for keyframe in self.keyframes]
        for weights in [self.weights] if self.weights is not None else own:
            if weights is None:
                continue
            if weights.weight_type not in _WEIGHT_TYPES or getattr(weights, "weight_mask", None) is not None:
                masked = "with a mask" if weights.weight_type in _WEIGHT_TYPES else f"of the kind {weights.weight_type}"
                raise AdapterError(
                    ADVANCED_APPLY,
                    f"weights {masked}",
                    f"weights of the kinds {', '.join(_WEIGHT_TYPES)} without a mask",
                    "Use T2IAdapter Custom Weights, or T2I-Adapter Level Weights at T2I-Adapter as ControlNet.",
                    says="These weights are for a ControlNet, and a T2I-Adapter can't follow them.",
                )


class AdvancedApply:
    """The attributes and methods by which that node speaks to a control that knows windows (``sub_idxs``)."""

    # It has no use for a VAE, and takes pictures, no latents.
    require_vae = allow_condhint_latents = postpone_condhint_latents_check = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mask_cond_hint_original: Tensor | None = None
        self.timestep_keyframes: Any = None
        self.latent_keyframe_override: Any = None
        self.weights_override: Any = None

    @property
    def overrides(self) -> Overrides:
        """What was handed over until now."""
        keyframes = () if self.timestep_keyframes is None else tuple(self.timestep_keyframes.keyframes)
        return Overrides(self.mask_cond_hint_original, keyframes, self.latent_keyframe_override, self.weights_override)

    def set_cond_hint_mask(self, mask: Tensor) -> None:
        """Take a mask, (M, H, W) in [0, 1]."""
        self.mask_cond_hint_original = mask

    def set_timestep_keyframes(self, keyframes: Any) -> None:
        """Take keyframes over time."""
        self.timestep_keyframes = keyframes

    def verify_all_weights(self, throw_error: bool = True) -> None:
        """Refuse weights that an adapter can't follow; see :meth:`Overrides.check`."""
        if throw_error:
            self.overrides.check()

    def disarm(self) -> None:
        """Hear that it was the Apply node that took the control."""

    def take_overrides(self, other: AdvancedApply) -> None:
        """Take what another control was handed."""
        self.mask_cond_hint_original = other.mask_cond_hint_original
        self.timestep_keyframes = other.timestep_keyframes
        self.latent_keyframe_override = other.latent_keyframe_override
        self.weights_override = other.weights_override
